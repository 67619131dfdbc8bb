//! The devcontainer CLI, which editors run: it speaks to the engine through a client's command line, Docker's or ours.
//!
//! What it builds (features, Dockerfiles, another user's number) is left out until Dhow builds.

use dhow_tests::TestHost;

const CONFIGURATION: &str = r#"// With comments, as such files have them.
{
  "name": "life",
  "image": "busybox",
  "updateRemoteUserUID": false,
  "containerEnv": { "IN": "container" },
  "remoteEnv": { "SEEN": "${containerEnv:IN}" },
  "mounts": ["source=cache,target=/cache,type=volume"],
  "runArgs": ["--label", "made=by-devcontainer", "--cap-add", "SYS_PTRACE"],
  "onCreateCommand": ["sh", "-c", "echo created > /cache/log"],
  "postCreateCommand": "echo ready >> /cache/log",
  "postStartCommand": { "start": "echo started >> /cache/log" },
  "remoteUser": "root"
}
"#;

fn lives(client: &str) {
    let host = TestHost::start();
    let configuration = host.path("work/.devcontainer/devcontainer.json");
    std::fs::create_dir_all(configuration.parent().expect("it has one")).expect("/tmp is writable");
    let configured = |text: &str| std::fs::write(&configuration, text).expect("/tmp is writable");
    configured(CONFIGURATION);
    let cli = |command: &str| {
        let program = super::node_modules().join("@devcontainers/cli/devcontainer.js");
        host.sh(&format!(
            "{} {} {command}",
            super::node().display(),
            program.display()
        ))
    };
    let up = || {
        cli(&format!(
            "up --docker-path {client} --workspace-folder work"
        ))
        .json()
    };
    let made = up();
    assert_eq!(made["outcome"], "success");
    assert_eq!(made["remoteWorkspaceFolder"], "/workspaces/work");
    let id = made["containerId"]
        .as_str()
        .expect("it was made")
        .to_owned();
    let found = host.inspect(&id);
    assert_eq!(found["Config"]["Labels"]["made"], "by-devcontainer");
    let folder = host.path("work").display().to_string();
    assert_eq!(
        found["Config"]["Labels"]["devcontainer.local_folder"],
        folder
    );
    assert_eq!(found["HostConfig"]["CapAdd"][0], "CAP_SYS_PTRACE");
    let exec = |script: &str| {
        cli(&format!(
            "exec --docker-path {client} --workspace-folder work sh -c '{script}'"
        ))
    };
    let done = exec("cat /cache/log; echo $SEEN in $PWD; echo x > made; exit 3");
    assert_eq!(
        (done.code, &*done.stdout),
        (
            3,
            "created\nready\nstarted\ncontainer in /workspaces/work\n"
        )
    );
    assert!(host.path("work/made").exists());
    // The same again; and after it has been stopped, started again.
    assert_eq!(up()["containerId"], id.as_str());
    host.sh(&format!("docker stop -t 0 {id}")).ok();
    assert_eq!(up()["containerId"], id.as_str());
    let done = exec("tail -n 2 /cache/log");
    assert_eq!(done.ok(), "started\nstarted");
    // Another in its place, with another user.
    configured(r#"{ "image": "busybox", "updateRemoteUserUID": false, "remoteUser": "www" }"#);
    let again = cli(&format!(
        "up --docker-path {client} --workspace-folder work --remove-existing-container"
    ));
    assert_ne!(again.json()["containerId"], id.as_str());
    assert_eq!(exec("id -u; id -gn").ok(), "33\nwww");
    host.sh("docker ps -aq | xargs docker rm -f; docker volume rm cache")
        .ok();
}

#[test]
fn lives_with_dockers_client() {
    lives("docker");
}

#[test]
fn lives_with_our_client() {
    lives("dhow");
}
