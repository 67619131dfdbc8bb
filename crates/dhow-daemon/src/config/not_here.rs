//! Settings of dockerd that name parts which Dhow does not have, or does without being told. They are taken, so that a
//! daemon's unit and file start Dhow unchanged, and each has one line in the log. What must not be lost silently, because
//! it would make containers less confined than was asked for, is refused.

use clap::builder::BoolishValueParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Map, Value};

/// What a setting's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Switch,
    Text,
    Number,
    /// Strings in the file, a flag that may be given several times.
    List,
    /// An object in the file, a flag that may be given several times.
    Map,
}

/// A setting that does nothing.
pub struct NotHere {
    /// Empty where only the command line has it.
    pub key: &'static str,
    /// Empty where only the file has it.
    pub flag: &'static str,
    short: Option<char>,
    kind: Kind,
    /// Values that say what Dhow does anyway: nothing is said of them.
    same: &'static [&'static str],
    /// What is so here, instead.
    pub instead: &'static str,
    /// Whether any other value is refused.
    pub refused: bool,
}

const fn setting(
    key: &'static str,
    flag: &'static str,
    kind: Kind,
    same: &'static [&'static str],
    instead: &'static str,
) -> NotHere {
    NotHere {
        key,
        flag,
        short: None,
        kind,
        same,
        instead,
        refused: false,
    }
}

const CONTAINERD: &str = "there is no containerd: the daemon does its work itself";
const PROXY: &str = "published ports need no proxy";
const SWARM: &str = "there is no swarm";
const OWN_RUNTIME: &str = "Dhow runs containers itself";
const RT: &str = "containers have real-time shares of their own only";
const OLD: &str = "it has no effect in Docker either";

/// All of them.
pub static NOT_HERE: [NotHere; 33] = {
    use Kind::{List, Map, Number, Switch, Text};
    [
        setting("containerd", "containerd", Text, &[], CONTAINERD),
        setting(
            "containerd-namespace",
            "containerd-namespace",
            Text,
            &[],
            CONTAINERD,
        ),
        setting(
            "containerd-plugin-namespace",
            "containerd-plugins-namespace",
            Text,
            &[],
            CONTAINERD,
        ),
        setting(
            "cri-containerd",
            "cri-containerd",
            Switch,
            &["false"],
            CONTAINERD,
        ),
        NotHere {
            short: Some('s'),
            ..setting(
                "storage-driver",
                "storage-driver",
                Text,
                &["overlay2", "overlayfs"],
                "containers' layers are overlay mounts",
            )
        },
        setting(
            "storage-opts",
            "storage-opt",
            List,
            &[],
            "containers' layers are overlay mounts without options",
        ),
        setting(
            "userland-proxy",
            "userland-proxy",
            Switch,
            &["false"],
            PROXY,
        ),
        setting(
            "userland-proxy-path",
            "userland-proxy-path",
            Text,
            &[],
            PROXY,
        ),
        setting(
            "init-path",
            "init-path",
            Text,
            &[],
            "the init is a part of Dhow",
        ),
        setting(
            "selinux-enabled",
            "selinux-enabled",
            Switch,
            &["false"],
            "containers have no SELinux labels",
        ),
        setting(
            "ip6tables",
            "ip6tables",
            Switch,
            &["true"],
            "a network with IPv6 has its rules",
        ),
        setting(
            "default-gateway-v6",
            "default-gateway-v6",
            Text,
            &[],
            "the bridge is the default network's gateway",
        ),
        setting(
            "default-gateway",
            "default-gateway",
            Text,
            &[],
            "the bridge is the default network's gateway",
        ),
        setting(
            "host-gateway-ips",
            "host-gateway-ip",
            List,
            &[],
            "host-gateway is the bridge's address",
        ),
        setting(
            "host-gateway-ip",
            "",
            Text,
            &[],
            "host-gateway is the bridge's address",
        ),
        setting(
            "ip-forward-no-drop",
            "ip-forward-no-drop",
            Switch,
            &["true"],
            "the policy of forwarding stays as it is",
        ),
        setting(
            "firewall-backend",
            "firewall-backend",
            Text,
            &["nftables"],
            "rules are made with nftables",
        ),
        setting("runtimes", "add-runtime", Map, &[], OWN_RUNTIME),
        setting("nri-opts", "nri-opts", Map, &[], "there are no NRI plugins"),
        setting("builder", "", Map, &[], "there is no builder to set up"),
        setting("cpu-rt-period", "cpu-rt-period", Number, &["0"], RT),
        setting("cpu-rt-runtime", "cpu-rt-runtime", Number, &["0"], RT),
        setting(
            "swarm-default-advertise-addr",
            "swarm-default-advertise-addr",
            Text,
            &[],
            SWARM,
        ),
        setting(
            "node-generic-resources",
            "node-generic-resource",
            List,
            &[],
            SWARM,
        ),
        setting(
            "network-control-plane-mtu",
            "network-control-plane-mtu",
            Number,
            &[],
            SWARM,
        ),
        setting(
            "network-diagnostic-port",
            "network-diagnostic-port",
            Number,
            &["0"],
            SWARM,
        ),
        setting("allow-nondistributable-artifacts", "", List, &[], OLD),
        setting("deprecated-key-path", "", Text, &[], OLD),
        setting(
            "min-api-version",
            "",
            Text,
            &["1.24"],
            "every version from 1.24 on is served",
        ),
        NotHere {
            short: Some('r'),
            ..setting(
                "",
                "restart",
                Switch,
                &["true"],
                "containers are started again as their restart policies say",
            )
        },
        NotHere {
            refused: true,
            ..setting(
                "rootless",
                "rootless",
                Switch,
                &["false"],
                "the daemon runs as root",
            )
        },
        NotHere {
            refused: true,
            ..setting(
                "userns-remap",
                "userns-remap",
                Text,
                &[],
                "containers have the host's user namespace",
            )
        },
        NotHere {
            refused: true,
            ..setting(
                "authorization-plugins",
                "authorization-plugin",
                List,
                &[],
                "there are no plugins to ask",
            )
        },
    ]
};

impl NotHere {
    /// What is said of a value, if anything has to be; an error where it can't be taken.
    fn judge(&self, name: &str, value: &str) -> Result<Option<String>, String> {
        if value.is_empty() || self.same.contains(&value) {
            Ok(None)
        } else if self.refused {
            Err(format!("{name} is not supported: {}", self.instead))
        } else {
            Ok(Some(format!("{name} has no effect: {}", self.instead)))
        }
    }

    fn argument(&self) -> Arg {
        let argument = Arg::new(self.flag)
            .long(self.flag)
            .help(format!("Taken without effect: {}", self.instead))
            .hide(true);
        let argument = match self.short {
            Some(short) => argument.short(short),
            None => argument,
        };
        match self.kind {
            Kind::Switch => argument
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .value_parser(BoolishValueParser::new()),
            Kind::Text => argument.value_name("TEXT"),
            Kind::Number => argument
                .value_name("N")
                .value_parser(clap::value_parser!(i64)),
            Kind::List | Kind::Map => argument.value_name("TEXT").action(ArgAction::Append),
        }
    }

    /// A value of the file as the text that it is judged by; an error names what was expected.
    fn text(&self, value: &Value) -> Result<String, String> {
        let expected = match (self.kind, value) {
            (_, Value::Null) => return Ok(String::new()),
            (Kind::Switch, Value::Bool(on)) => return Ok(on.to_string()),
            (Kind::Text, Value::String(text)) => return Ok(text.clone()),
            (Kind::Number, Value::Number(number)) => return Ok(number.to_string()),
            (Kind::List, Value::Array(items)) if items.iter().all(Value::is_string) => {
                return Ok(items.first().map(ToString::to_string).unwrap_or_default());
            }
            (Kind::Map, Value::Object(entries)) => {
                return Ok(entries.keys().next().cloned().unwrap_or_default());
            }
            (Kind::Switch, _) => "true or false",
            (Kind::Text, _) => "a string",
            (Kind::Number, _) => "a number",
            (Kind::List, _) => "a list of strings",
            (Kind::Map, _) => "an object",
        };
        Err(format!(
            "{}: invalid value {value}: expected {expected}",
            self.key
        ))
    }
}

/// Adds the flags.
pub fn augment(command: Command) -> Command {
    NOT_HERE
        .iter()
        .filter(|setting| !setting.flag.is_empty())
        .fold(command, |command, setting| command.arg(setting.argument()))
}

/// What is to be said of those that the command line has.
pub fn of_flags(matches: &ArgMatches) -> Result<Vec<String>, String> {
    NOT_HERE
        .iter()
        .filter(|setting| {
            !setting.flag.is_empty()
                && matches.value_source(setting.flag) == Some(ValueSource::CommandLine)
        })
        .filter_map(|setting| {
            let value = match setting.kind {
                Kind::Switch => matches.get_one::<bool>(setting.flag)?.to_string(),
                Kind::Number => matches.get_one::<i64>(setting.flag)?.to_string(),
                Kind::Text | Kind::List | Kind::Map => {
                    matches.get_one::<String>(setting.flag)?.clone()
                }
            };
            setting
                .judge(&format!("--{}", setting.flag), &value)
                .transpose()
        })
        .collect()
}

/// Takes those that the file has out of it, and tells what is to be said of them.
pub fn of_file(values: &mut Map<String, Value>) -> Result<Vec<String>, String> {
    let mut said = Vec::new();
    for setting in NOT_HERE.iter().filter(|setting| !setting.key.is_empty()) {
        let Some(value) = values.remove(setting.key) else {
            continue;
        };
        let text = setting.text(&value)?;
        said.extend(setting.judge(setting.key, &text)?);
    }
    Ok(said)
}
