//! Dockerfile instructions that change an image's configuration, as `--change` takes them.

use dhow_oci::{Healthcheck, RunConfig};
use serde_json::Value;

use crate::error::{ImageError, Result};
use crate::words;

/// Bytes that the instructions may come to with their variables replaced.
const MOST: usize = 8 << 20;

/// Applies one instruction after another. Each element of `changes` may have several lines; a line that ends with a
/// backslash goes on in the next.
pub fn apply(config: &mut RunConfig, changes: &[String]) -> Result<()> {
    let mut changer = Changer {
        config,
        has_command: false,
        bytes: 0,
    };
    let mut begun = String::new();
    for line in changes.iter().flat_map(|c| c.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        begun.push_str(line);
        if begun.ends_with('\\') {
            begun.pop();
            continue;
        }
        changer.line(&std::mem::take(&mut begun))?;
    }
    match begun.trim() {
        "" => Ok(()),
        rest => changer.line(rest),
    }
}

struct Changer<'a> {
    config: &'a mut RunConfig,
    /// Whether one of these instructions was a command: an entrypoint takes away what was there before.
    has_command: bool,
    bytes: usize,
}

impl Changer<'_> {
    fn line(&mut self, line: &str) -> Result<()> {
        let (instruction, rest) = line
            .split_once(char::is_whitespace)
            .map_or((line, ""), |(i, r)| (i, r.trim()));
        self.instruction(&instruction.to_uppercase(), rest)
    }

    fn instruction(&mut self, instruction: &str, rest: &str) -> Result<()> {
        let needs = |what: &str| ImageError::Invalid(format!("{instruction} requires {what}"));
        if rest.is_empty() && !matches!(instruction, "CMD" | "ENTRYPOINT") {
            return Err(needs("at least one argument"));
        }
        let config = &mut *self.config;
        let environment = config.env.clone().unwrap_or_default();
        let word = |text: &str| words::one(text, &environment);
        match instruction {
            "CMD" => {
                config.cmd = Some(command(rest, config.shell.as_deref()));
                self.has_command = true;
            }
            "ENTRYPOINT" => {
                config.entrypoint = Some(command(rest, config.shell.as_deref()));
                if !self.has_command {
                    config.cmd = None;
                }
            }
            "SHELL" => {
                config.shell =
                    Some(json_list(rest).ok_or_else(|| needs("the arguments to be in JSON form"))?);
            }
            "ENV" => {
                let pairs = pairs(rest, &environment)?.ok_or_else(|| needs("key=value pairs"))?;
                take(&mut self.bytes, pairs.iter().map(|(_, value)| value.len()))?;
                let env = config.env.get_or_insert_default();
                for (key, value) in pairs {
                    let prefix = format!("{key}=");
                    let new = format!("{key}={value}");
                    match env.iter_mut().find(|e| e.starts_with(&prefix)) {
                        Some(old) => *old = new,
                        None => env.push(new),
                    }
                }
            }
            "LABEL" => {
                let labels = pairs(rest, &environment)?.ok_or_else(|| needs("key=value pairs"))?;
                take(&mut self.bytes, labels.iter().map(|(_, value)| value.len()))?;
                config.labels.get_or_insert_default().extend(labels);
            }
            "EXPOSE" => {
                let ports = config.exposed_ports.get_or_insert_default();
                for port in words::split(rest, &environment)? {
                    for port in expand_port(&port)? {
                        ports.insert(port, empty_object());
                    }
                }
            }
            "VOLUME" => {
                let volumes = config.volumes.get_or_insert_default();
                let paths = match json_list(rest) {
                    Some(paths) => paths
                        .iter()
                        .map(|path| word(path))
                        .collect::<Result<Vec<_>>>()?,
                    None => words::split(rest, &environment)?,
                };
                take(&mut self.bytes, paths.iter().map(String::len))?;
                for path in paths {
                    if path.is_empty() {
                        return Err(ImageError::Invalid(
                            "VOLUME specified can not be an empty string".into(),
                        ));
                    }
                    volumes.insert(path, empty_object());
                }
            }
            "USER" => config.user = word(rest)?,
            "WORKDIR" => {
                let rest = word(rest)?;
                config.working_dir = if rest.starts_with('/') || config.working_dir.is_empty() {
                    format!("/{}", rest.trim_start_matches('/'))
                } else {
                    format!("{}/{rest}", config.working_dir.trim_end_matches('/'))
                };
            }
            "STOPSIGNAL" => config.stop_signal = word(rest)?,
            "ONBUILD" => config
                .on_build
                .get_or_insert_default()
                .push(rest.to_owned()),
            "HEALTHCHECK" => config.healthcheck = Some(healthcheck(rest)?),
            other => {
                return Err(ImageError::Invalid(format!(
                    "{} is not a valid change command",
                    other.to_lowercase()
                )));
            }
        }
        Ok(())
    }
}

fn take(bytes: &mut usize, more: impl Iterator<Item = usize>) -> Result<()> {
    *bytes += more.sum::<usize>();
    match *bytes > MOST {
        true => Err(ImageError::Invalid("the changes are too large".into())),
        false => Ok(()),
    }
}

fn empty_object() -> Value {
    Value::Object(Default::default())
}

fn json_list(text: &str) -> Option<Vec<String>> {
    serde_json::from_str(text).ok()
}

/// The exec form as it is, the shell form through the shell.
fn command(text: &str, shell: Option<&[String]>) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    json_list(text).unwrap_or_else(|| {
        let mut words = match shell {
            Some(shell) if !shell.is_empty() => shell.to_vec(),
            _ => ["/bin/sh", "-c"].map(str::to_owned).to_vec(),
        };
        words.push(text.to_owned());
        words
    })
}

/// `a=b "c d"="e f"`, or of old `a the rest`.
fn pairs(text: &str, environment: &[String]) -> Result<Option<Vec<(String, String)>>> {
    let is_old = !text
        .split(char::is_whitespace)
        .next()
        .is_some_and(|first| first.contains('='));
    let words = words::split(text, environment)?;
    if is_old && !words.first().is_some_and(|first| first.contains('=')) {
        let Some((key, value)) = text.split_once(char::is_whitespace) else {
            return Ok(None);
        };
        let value = words::one(value.trim(), environment)?;
        return Ok(Some(vec![(words::one(key, environment)?, value)]));
    }
    let pair = |word: &String| {
        let (key, value) = word.split_once('=')?;
        (!key.is_empty()).then(|| (key.to_owned(), value.to_owned()))
    };
    Ok(words.iter().map(pair).collect())
}

/// `80`, `80/udp`, `8000-8010/tcp`.
fn expand_port(text: &str) -> Result<Vec<String>> {
    let bad = || ImageError::Invalid(format!("invalid containerPort: {text}"));
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(ImageError::Invalid(format!("invalid proto: {protocol}")));
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let first: u16 = first.parse().map_err(|_| bad())?;
    let last: u16 = last.parse().map_err(|_| bad())?;
    if last < first {
        return Err(bad());
    }
    Ok((first..=last).map(|p| format!("{p}/{protocol}")).collect())
}

fn healthcheck(text: &str) -> Result<Healthcheck> {
    let mut check = Healthcheck::default();
    let mut rest = text;
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, after) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
        let bad =
            || ImageError::Invalid(format!("HEALTHCHECK: invalid value of --{name}: {value:?}"));
        match name {
            "interval" => check.interval = duration(value).ok_or_else(bad)?,
            "timeout" => check.timeout = duration(value).ok_or_else(bad)?,
            "start-period" => check.start_period = duration(value).ok_or_else(bad)?,
            "start-interval" => check.start_interval = duration(value).ok_or_else(bad)?,
            "retries" => check.retries = value.parse().map_err(|_| bad())?,
            _ => return Err(ImageError::Invalid(format!("unknown flag: {name}"))),
        }
        rest = after.trim_start();
    }
    let (kind, arguments) = rest
        .split_once(char::is_whitespace)
        .map_or((rest, ""), |(k, a)| (k, a.trim()));
    check.test = Some(match kind.to_uppercase().as_str() {
        "NONE" if arguments.is_empty() => vec!["NONE".to_owned()],
        "CMD" if !arguments.is_empty() => match json_list(arguments) {
            Some(list) => std::iter::once("CMD".to_owned()).chain(list).collect(),
            None => vec!["CMD-SHELL".to_owned(), arguments.to_owned()],
        },
        other => {
            return Err(ImageError::Invalid(format!(
                "unknown type {other:?} in HEALTHCHECK (try CMD)"
            )));
        }
    });
    Ok(check)
}

/// `1m30s` in nanoseconds.
fn duration(text: &str) -> Option<i64> {
    let mut total: i64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = rest[..digits].parse().ok()?;
        let after = &rest[digits..];
        let end = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let unit = match &after[..end] {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(unit)?)?;
        rest = &after[end..];
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(changes: &[&str]) -> RunConfig {
        let mut config = RunConfig::default();
        let changes: Vec<_> = changes.iter().map(|c| (*c).to_owned()).collect();
        apply(&mut config, &changes).unwrap();
        config
    }

    #[test]
    fn instructions_change_the_configuration() {
        let c = applied(&[
            "CMD [\"a\", \"b\"]",
            "entrypoint run it",
            "ENV A=1 B=\"two words\"",
            "ENV A=3",
            "ENV OLD the old way",
            "ENV PATH=/bin \\\n  LONG=$A",
            "ENV PATH=/opt:$PATH",
            "LABEL x=y",
            "EXPOSE 80 53/udp 90-91",
            "VOLUME /data",
            "WORKDIR /srv",
            "WORKDIR app",
            "USER me",
            "HEALTHCHECK --interval=1m30s --retries=3 CMD curl -f localhost",
        ]);
        assert_eq!(c.cmd.unwrap(), ["a", "b"]);
        assert_eq!(c.entrypoint.unwrap(), ["/bin/sh", "-c", "run it"]);
        assert_eq!(
            c.env.unwrap(),
            [
                "A=3",
                "B=two words",
                "OLD=the old way",
                "PATH=/opt:/bin",
                "LONG=3"
            ]
        );
        let ports: Vec<_> = c.exposed_ports.unwrap().into_keys().collect();
        assert_eq!(ports, ["53/udp", "80/tcp", "90/tcp", "91/tcp"]);
        assert_eq!(c.working_dir, "/srv/app");
        let health = c.healthcheck.unwrap();
        assert_eq!(health.interval, 90_000_000_000);
        assert_eq!(health.test.unwrap(), ["CMD-SHELL", "curl -f localhost"]);
    }

    #[test]
    fn an_entrypoint_takes_the_command_away_that_was_there() {
        let mut config = RunConfig {
            cmd: Some(vec!["old".into()]),
            shell: Some(vec!["/bin/ash".into(), "-ec".into()]),
            ..RunConfig::default()
        };
        apply(&mut config, &["ENTRYPOINT run it".to_owned()]).unwrap();
        assert_eq!(config.cmd, None);
        assert_eq!(config.entrypoint.unwrap(), ["/bin/ash", "-ec", "run it"]);
        let c = applied(&["CMD [\"new\"]", "ENTRYPOINT [\"x\"]"]);
        assert_eq!(c.cmd.unwrap(), ["new"]);
    }

    #[test]
    fn others_are_refused() {
        let error = |change: &str| {
            apply(&mut RunConfig::default(), &[change.to_owned()])
                .unwrap_err()
                .to_string()
        };
        assert_eq!(error("RUN x"), "run is not a valid change command");
        assert_eq!(error("EXPOSE x"), "invalid containerPort: x");
        assert_eq!(error("USER"), "USER requires at least one argument");
        assert!(error("HEALTHCHECK --interval=x CMD y").contains("--interval"));
    }
}
