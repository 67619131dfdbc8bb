//! A container's log driver and its options: read once, checked at creation with Docker's texts, and what they
//! come to at a start.
//!
//! Whatever the driver, the shim writes the file that `logs` reads; a driver that sends the output to a server
//! has it beside that, as a cache (Docker's dual logging).

mod attributes;
mod options;
mod servers;

use std::path::PathBuf;

use dhow_api::LogConfig;
use dhow_runtime::protocol::{LogFile, LogFormat, LogSink};

use super::container::Container;
use super::definition::Definition;
use crate::error::{EngineError, Result};
use options::Options;
use servers::ServerSettings;
pub use servers::look_up;

/// The drivers that there are, as `info` lists them.
pub const DRIVERS: [&str; 5] = ["journald", "json-file", "local", "none", "syslog"];

/// Rotation of logs whose options don't say: what Docker's `local` driver has, for `json-file` as well, so that
/// no log fills a disk.
const DEFAULT_MAX_SIZE: u64 = 20 << 20;
const DEFAULT_MAX_FILE: u32 = 5;

/// A driver and its options, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    kept: Option<Kept>,
    server: Option<ServerSettings>,
}

/// The file that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    format: LogFormat,
    rotation: Rotation,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rotation {
    /// `None` never rotates.
    max_size: Option<u64>,
    max_file: u32,
    compress: bool,
}

/// Fills in what the daemon's configuration says of logs, as Docker does: the driver, and where it is the
/// daemon's, each option that is not given.
pub fn settle(config: &mut LogConfig, defaults: &crate::config::LogDefaults) {
    if config.kind.is_empty() {
        config.kind.clone_from(&defaults.driver);
    }
    for (name, value) in &defaults.options {
        if config.kind == defaults.driver || options::is_of_cache(name) {
            let options = &mut config.config;
            options.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
}

/// Refuses what the daemon's configuration says of logs, where no container could have it.
pub fn check_defaults(
    driver: &str,
    options: &std::collections::BTreeMap<String, String>,
) -> Result<()> {
    LogSettings::read(&LogConfig {
        kind: driver.to_owned(),
        config: options.clone(),
    })
    .map(drop)
}

impl LogSettings {
    /// Reads what a container's `LogConfig` says. Refuses unknown drivers, options and values, in Docker's words.
    pub fn read(config: &LogConfig) -> Result<LogSettings> {
        let options = Options::new(&config.config);
        if config.kind == "none" {
            return Ok(LogSettings {
                kept: None,
                server: None,
            });
        }
        options.check_common()?;
        match config.kind.as_str() {
            "" | "json-file" => {
                options.check_names("json-file", options::FILE)?;
                attributes::check(&options)?;
                let rotation = Rotation::of_json_file(&options)?;
                Ok(LogSettings::file(LogFormat::JsonFile, rotation))
            }
            "local" => {
                options.check_names("local", options::FILE)?;
                attributes::check(&options)?;
                let rotation = Rotation::of_local(&options)?;
                Ok(LogSettings::file(LogFormat::Local, rotation))
            }
            "syslog" => {
                options.check_names("syslog", servers::SYSLOG)?;
                attributes::check(&options)?;
                LogSettings::sent(ServerSettings::syslog(&options)?, &options)
            }
            "journald" => {
                options.check_names("journald", servers::JOURNALD)?;
                attributes::check(&options)?;
                LogSettings::sent(ServerSettings::journald(&options)?, &options)
            }
            other => Err(EngineError::invalid(format!(
                "logger: no log driver named '{other}' is registered"
            ))),
        }
    }

    fn file(format: LogFormat, rotation: Rotation) -> LogSettings {
        LogSettings {
            kept: Some(Kept { format, rotation }),
            server: None,
        }
    }

    fn sent(server: ServerSettings, options: &Options<'_>) -> Result<LogSettings> {
        let disabled = options.boolean("cache-disabled")?.unwrap_or(false);
        let kept = Kept {
            format: LogFormat::Local,
            rotation: Rotation::of_local(&options.of_cache())?,
        };
        Ok(LogSettings {
            kept: (!disabled).then_some(kept),
            server: Some(server),
        })
    }

    /// As [`LogSettings::read`], for a container that is being made: a server on this machine must be there.
    pub fn check(config: &LogConfig) -> Result<()> {
        match LogSettings::read(config)?.server {
            Some(server) => server.check_there(),
            None => Ok(()),
        }
    }

    /// What a shim is to do.
    pub fn sink(&self, container: &Container, definition: &Definition) -> Result<LogSink> {
        let options = Options::new(&definition.host_config.log_config.config);
        let subject = attributes::Subject::new(container, definition);
        let server = self.server.as_ref();
        let server = server.map(|server| server.server(&options, &subject));
        let file = match &self.kept {
            Some(Kept { format, rotation }) => {
                let (max_size, max_file) = rotation.bounds();
                Some(LogFile {
                    path: path(container, *format),
                    format: *format,
                    max_size,
                    max_file,
                    compress: rotation.compress,
                    attrs: attributes::of_file(&options, &subject)?,
                })
            }
            None => None,
        };
        Ok(LogSink {
            file,
            server: server.transpose()?,
        })
    }

    /// What inspect shows: the file of `json-file`, which is in a format that others read.
    pub fn log_path(&self, container: &Container) -> Option<PathBuf> {
        let (path, format) = self.readable(container)?;
        (format == LogFormat::JsonFile).then_some(path)
    }

    /// The file that `logs` reads, if there is one.
    pub fn readable(&self, container: &Container) -> Option<(PathBuf, LogFormat)> {
        let format = self.kept.as_ref()?.format;
        Some((path(container, format), format))
    }
}

fn path(container: &Container, format: LogFormat) -> PathBuf {
    let name = match format {
        // Docker's name, which is `LogPath` and what collectors of logs look for.
        LogFormat::JsonFile => format!("{}-json.log", container.id),
        LogFormat::Local => format!("{}-local.log", container.id),
    };
    container.dir.join(name)
}

impl Rotation {
    fn of_json_file(options: &Options<'_>) -> Result<Rotation> {
        let given = options.size("max-size")?;
        let max_file = options.count("max-file")?;
        if given == Some(Some(0)) {
            return Err(EngineError::invalid("max-size must be a positive number"));
        }
        if max_file.is_some_and(|files| files < 1) {
            return Err(EngineError::invalid("max-file cannot be less than 1"));
        }
        let max_size = given.unwrap_or(Some(DEFAULT_MAX_SIZE));
        // Docker's default is one file; without any limit given, the last lines are to be there as well.
        let default = if given.is_none() { DEFAULT_MAX_FILE } else { 1 };
        let max_file = max_file.map_or(default, |files| files as u32);
        let compress = options.boolean("compress")?.unwrap_or(false);
        if compress && (max_file == 1 || max_size.is_none()) {
            return Err(EngineError::invalid(
                "compress cannot be true when max-file is less than 2 or max-size is not set",
            ));
        }
        Ok(Rotation {
            max_size,
            max_file,
            compress,
        })
    }

    fn of_local(options: &Options<'_>) -> Result<Rotation> {
        let wrong = |name: &'static str| {
            move |error: EngineError| {
                let value = options.get(name).unwrap_or_default();
                EngineError::invalid(format!("invalid value for {name}: {value}: {error}"))
            }
        };
        let given = options.size("max-size").map_err(wrong("max-size"))?;
        let max_file = options.count("max-file").map_err(wrong("max-file"))?;
        let compress = options
            .boolean("compress")
            .map_err(|e| EngineError::invalid(format!("invalid boolean value for compress: {e}")))?
            .unwrap_or(true);
        if max_file.is_some_and(|files| files < 0) {
            return Err(EngineError::invalid("max-file must not be negative"));
        }
        let max_file = max_file.map_or(DEFAULT_MAX_FILE, |files| files as u32);
        if compress && max_file <= 1 {
            return Err(EngineError::invalid(
                "compression cannot be enabled when max file count is 1",
            ));
        }
        Ok(Rotation {
            // In Docker as well, no size is no limit.
            max_size: given
                .unwrap_or(Some(DEFAULT_MAX_SIZE))
                .filter(|size| *size > 0),
            max_file: max_file.max(1),
            compress,
        })
    }

    /// The size of a file, and how many there are.
    ///
    /// A log in one file would lose all of its lines whenever that is full, the last ones as well: it is kept in
    /// two of half the size instead.
    fn bounds(&self) -> (Option<u64>, u32) {
        match (self.max_size, self.max_file) {
            (Some(size), 1) => (Some((size / 2).max(1)), 2),
            bounds => bounds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: &str, options: &[(&str, &str)]) -> Result<LogSettings> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        LogSettings::read(&LogConfig {
            kind: kind.to_owned(),
            config: options.iter().map(owned).collect(),
        })
    }

    fn bounds(kind: &str, options: &[(&str, &str)]) -> (Option<u64>, u32, bool) {
        let rotation = read(kind, options).unwrap().kept.unwrap().rotation;
        let (size, files) = rotation.bounds();
        (size, files, rotation.compress)
    }

    #[test]
    fn logs_have_bounds_unless_they_are_not_to() {
        assert_eq!(bounds("json-file", &[]), (Some(20 << 20), 5, false));
        assert_eq!(bounds("local", &[]), (Some(20 << 20), 5, true));
        assert_eq!(bounds("json-file", &[("max-size", "-1")]).0, None);
        assert_eq!(
            bounds("json-file", &[("max-size", "10m")]),
            (Some(5_000_000), 2, false)
        );
        assert_eq!(
            bounds("json-file", &[("max-file", "3")]),
            (Some(20 << 20), 3, false)
        );
        assert_eq!(
            bounds(
                "json-file",
                &[("max-size", "1k"), ("max-file", "2"), ("compress", "1")]
            ),
            (Some(1000), 2, true)
        );
        assert_eq!(
            bounds(
                "local",
                &[
                    ("max-file", "1"),
                    ("compress", "false"),
                    ("max-size", "1kB")
                ]
            ),
            (Some(500), 2, false)
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_dockers_words() {
        for (kind, options, text) in [
            (
                "json-file",
                &[("colour", "red")][..],
                "unknown log opt 'colour' for json-file log driver",
            ),
            (
                "local",
                &[("colour", "red")],
                "unknown log opt 'colour' for log driver local",
            ),
            ("json-file", &[("max-size", "ten")], "invalid size: 'ten'"),
            ("json-file", &[("max-size", "1x")], "invalid suffix: 'x'"),
            (
                "json-file",
                &[("max-size", "0")],
                "max-size must be a positive number",
            ),
            (
                "json-file",
                &[("max-file", "0")],
                "max-file cannot be less than 1",
            ),
            (
                "json-file",
                &[("max-file", "x")],
                "strconv.Atoi: parsing \"x\": invalid syntax",
            ),
            (
                "json-file",
                &[("compress", "x")],
                "strconv.ParseBool: parsing \"x\": invalid syntax",
            ),
            (
                "json-file",
                &[("compress", "true"), ("max-size", "1m")],
                "compress cannot be true when max-file is less than 2 or max-size is not set",
            ),
            (
                "local",
                &[("max-file", "x")],
                "invalid value for max-file: x: strconv.Atoi: parsing \"x\": invalid syntax",
            ),
            (
                "local",
                &[("max-file", "1")],
                "compression cannot be enabled when max file count is 1",
            ),
            (
                "local",
                &[("compress", "x")],
                "invalid boolean value for compress: strconv.ParseBool: parsing \"x\": invalid syntax",
            ),
            (
                "json-file",
                &[("mode", "sometimes")],
                "logger: logging mode not supported: sometimes",
            ),
            (
                "json-file",
                &[("max-buffer-size", "1m")],
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
            ),
            (
                "json-file",
                &[("mode", "non-blocking"), ("max-buffer-size", "x")],
                "error parsing option max-buffer-size: invalid size: 'x'",
            ),
            (
                "json-file",
                &[("cache-disabled", "x")],
                "invalid value for option cache-disabled: x",
            ),
            (
                "syslog",
                &[("colour", "red")],
                "unknown log opt 'colour' for syslog log driver",
            ),
            (
                "syslog",
                &[("syslog-facility", "x")],
                "invalid syslog facility",
            ),
            ("syslog", &[("syslog-format", "x")], "Invalid syslog format"),
            (
                "journald",
                &[("max-size", "1m")],
                "unknown log opt 'max-size' for journald log driver",
            ),
            (
                "gelf",
                &[],
                "logger: no log driver named 'gelf' is registered",
            ),
        ] {
            let error = read(kind, options).unwrap_err().to_string();
            assert_eq!(error, text, "{kind} {options:?}");
        }
        for bad in [("labels-regex", "["), ("env-regex", "(")] {
            let error = read("json-file", &[bad]).unwrap_err().to_string();
            assert!(error.starts_with("error parsing regexp: "), "{error}");
        }
        let error = read("local", &[("tag", "{{.Colour}}")])
            .unwrap_err()
            .to_string();
        assert!(error.contains("Colour"), "{error}");
        assert!(read("local", &[("tag", "{{.ID")]).is_err());
    }

    #[test]
    fn the_daemons_options_are_those_of_its_driver() {
        let defaults = crate::config::LogDefaults {
            driver: "json-file".to_owned(),
            options: [
                ("max-size", "1m"),
                ("max-file", "3"),
                ("cache-disabled", "true"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        };
        let settled = |json: &str| {
            let mut config: LogConfig = serde_json::from_str(json).unwrap();
            settle(&mut config, &defaults);
            let options: Vec<_> = config
                .config
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            (config.kind, options.join(" "))
        };
        let of = |kind: &str, options: &str| (kind.to_owned(), options.to_owned());
        assert_eq!(
            settled("{}"),
            of("json-file", "cache-disabled=true max-file=3 max-size=1m")
        );
        assert_eq!(
            settled(r#"{"Type":"json-file","Config":{"max-size":"2m"}}"#),
            of("json-file", "cache-disabled=true max-file=3 max-size=2m")
        );
        assert_eq!(
            settled(r#"{"Type":"local"}"#),
            of("local", "cache-disabled=true")
        );
    }
}
