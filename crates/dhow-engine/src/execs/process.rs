//! The process of an exec: the container's own, with what the request changes.

use dhow_api::ExecCreateRequest;
use oci_spec::runtime::Process;

use super::Execs;
use crate::containers::container::Container;
use crate::containers::spec::{self, env, process, security};
use crate::error::Result;

impl Execs {
    pub(super) fn process(
        &self,
        container: &Container,
        request: &ExecCreateRequest,
    ) -> Result<Process> {
        let definition = container.definition();
        let (config, host) = (&definition.config, &definition.host_config);
        let user_text = match request.user.as_str() {
            "" => config.user.as_str(),
            user => user,
        };
        // The container's further groups are those of whoever runs in it.
        let group_add = host.group_add.as_deref().unwrap_or_default();
        let user = self
            .inner
            .containers
            .resolve_user(container, user_text, group_add)?;
        let capabilities = spec::caps::effective(
            &self.inner.containers.host().capabilities,
            request.privileged || host.privileged,
            host.cap_add.as_deref().unwrap_or_default(),
            host.cap_drop.as_deref().unwrap_or_default(),
        )?;
        let mut variables = env::of_container(
            &config.hostname,
            request.tty,
            config.env.as_deref().unwrap_or_default(),
        );
        env::merge(&mut variables, request.env.as_deref().unwrap_or_default());
        env::add_home(&mut variables, &user.home);
        let directory = [request.working_dir.as_str(), config.working_dir.as_str()]
            .into_iter()
            .find(|d| !d.is_empty())
            .unwrap_or("/");
        let mut made = Process::default();
        made.set_terminal(Some(request.tty));
        made.set_user(process::user(&user, host.umask)?);
        made.set_args(Some(request.cmd.clone().unwrap_or_default()));
        made.set_env(Some(variables));
        made.set_cwd(directory.into());
        made.set_capabilities(Some(process::capability_sets(&capabilities, &user)?));
        made.set_rlimits(
            Some(process::rlimits(
                host.resources.ulimits.as_deref().unwrap_or_default(),
            )?)
            .filter(|r| !r.is_empty()),
        );
        let defaults = self.inner.containers.defaults();
        let security = security::parse(host)?.or_default(&defaults)?;
        made.set_no_new_privileges(Some(security.no_new_privileges()));
        made.set_oom_score_adj(i32::try_from(host.oom_score_adj).ok());
        // The container's, also for a privileged exec, as in Docker.
        made.set_apparmor_profile(process::apparmor_profile(
            self.inner.containers.host(),
            &security,
            host.privileged,
        ));
        Ok(made)
    }
}
