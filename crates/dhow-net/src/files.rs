//! The files that tell a container its name, its neighbours and its name servers: `/etc/hostname`, `/etc/hosts`,
//! `/etc/resolv.conf`. Pure functions of text, but for the one that reads the host's file.

use std::fmt::Write;
use std::io;
use std::net::IpAddr;

/// Where the host's resolver configuration is; the second, where systemd-resolved keeps the servers behind its stub.
const RESOLV_CONF: &str = "/etc/resolv.conf";
const RESOLVED_CONF: &str = "/run/systemd/resolve/resolv.conf";
const RESOLVED_STUB: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 53));

/// The servers of a container on a host that names none that a container could reach.
pub const FALLBACK_SERVERS: [IpAddr; 2] = [
    IpAddr::V4(std::net::Ipv4Addr::new(8, 8, 8, 8)),
    IpAddr::V4(std::net::Ipv4Addr::new(8, 8, 4, 4)),
];

/// The word that stands for the host's address in an extra host.
pub const HOST_GATEWAY: &str = "host-gateway";

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    #[error("bad format for add-host: {0:?}")]
    BadExtraHost(String),
    #[error("invalid IP address in add-host: {0:?}")]
    BadExtraAddress(String),
    #[error("unable to derive the IP value for host-gateway")]
    NoHostGateway,
}

/// `/etc/hostname`.
pub fn hostname(name: &str) -> String {
    format!("{name}\n")
}

/// What stands in a container's `/etc/hosts`.
#[derive(Clone, Debug, Default)]
pub struct Hosts<'a> {
    pub hostname: &'a str,
    pub domain: &'a str,
    /// The container's own addresses; none on no network.
    pub addresses: &'a [IpAddr],
    /// As in `--add-host`: `name:address` or `name=address`, the address may be [`HOST_GATEWAY`].
    pub extra: &'a [String],
    /// Further addresses, each with its names.
    pub linked: &'a [(IpAddr, String)],
    /// What [`HOST_GATEWAY`] stands for.
    pub host_gateway: Option<IpAddr>,
}

const HOSTS_DEFAULTS: &str = "127.0.0.1\tlocalhost\n\
    ::1\tlocalhost ip6-localhost ip6-loopback\n\
    fe00::\tip6-localnet\n\
    ff00::\tip6-mcastprefix\n\
    ff02::1\tip6-allnodes\n\
    ff02::2\tip6-allrouters\n";

/// `/etc/hosts` of a container with a network namespace of its own.
pub fn hosts(hosts: &Hosts<'_>) -> Result<String, FileError> {
    let mut text = HOSTS_DEFAULTS.to_owned();
    add_extra_hosts(&mut text, hosts)?;
    for (address, names) in hosts.linked {
        line(&mut text, *address, names);
    }
    let names = own_names(hosts.hostname, hosts.domain);
    for address in hosts.addresses {
        line(&mut text, *address, &names);
    }
    Ok(text)
}

/// `/etc/hosts` of a container in the host's network namespace: the host's, with the extra ones.
pub fn hosts_of_host(host: &str, hosts: &Hosts<'_>) -> Result<String, FileError> {
    let mut text = host.to_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    add_extra_hosts(&mut text, hosts)?;
    Ok(text)
}

/// The same with another address for what has `name` for the first of several names, on this line; or without it. A line with
/// one name alone is not of a link.
pub fn with_host(hosts: &str, name: &str, new: Option<(IpAddr, &str)>) -> String {
    let is_it = |line: &str| {
        let names = line.split_once('\t').map(|(_, names)| names);
        names
            .and_then(|names| names.split_once(' '))
            .map(|(first, _)| first)
            == Some(name)
    };
    let mut new = new;
    let mut text = String::with_capacity(hosts.len());
    for old in hosts.lines() {
        match is_it(old) {
            true => {
                if let Some((address, names)) = new.take() {
                    line(&mut text, address, names);
                }
            }
            false => {
                text.push_str(old);
                text.push('\n');
            }
        }
    }
    if let Some((address, names)) = new {
        line(&mut text, address, names);
    }
    text
}

/// What a container is called by itself: `host.domain host`, or `host`.
pub fn own_names(hostname: &str, domain: &str) -> String {
    match domain {
        "" => hostname.to_owned(),
        domain => format!("{hostname}.{domain} {hostname}"),
    }
}

/// The same with other names for an address, on its line or at the end; or without the address.
pub fn with_address(hosts: &str, address: IpAddr, names: Option<&str>) -> String {
    let is_it = |line: &str| {
        let first = line.split_whitespace().next();
        first.and_then(|word| word.parse().ok()) == Some(address)
    };
    let mut text = String::with_capacity(hosts.len());
    for old in hosts.lines().filter(|line| !is_it(line)) {
        text.push_str(old);
        text.push('\n');
    }
    if let Some(names) = names.filter(|names| !names.is_empty()) {
        line(&mut text, address, names);
    }
    text
}

fn add_extra_hosts(text: &mut String, hosts: &Hosts<'_>) -> Result<(), FileError> {
    for entry in hosts.extra {
        let (name, address) = split_extra_host(entry)?;
        let address = if address == HOST_GATEWAY {
            hosts.host_gateway.ok_or(FileError::NoHostGateway)?
        } else {
            parse_address(address).ok_or_else(|| FileError::BadExtraAddress(entry.clone()))?
        };
        line(text, address, name);
    }
    Ok(())
}

fn line(text: &mut String, address: IpAddr, names: &str) {
    // Writing to a string can't fail.
    let _ = writeln!(text, "{address}\t{names}");
}

/// Name and address of an extra host, either of them not yet looked at.
pub fn split_extra_host(entry: &str) -> Result<(&str, &str), FileError> {
    let bad = || FileError::BadExtraHost(entry.to_owned());
    let (name, address) = entry
        .split_once('=')
        .or_else(|| entry.split_once(':'))
        .ok_or_else(bad)?;
    // A name with white space or a line end in it would be more than a name.
    let clean = |part: &str| {
        !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c.is_control())
    };
    if !clean(name) || !clean(address) || name.contains('#') {
        return Err(bad());
    }
    Ok((name, address))
}

/// An address, IPv6 also in brackets.
fn parse_address(text: &str) -> Option<IpAddr> {
    text.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text)
        .parse()
        .ok()
}

/// What the user wants instead of the host's: a list that isn't empty replaces the host's.
#[derive(Clone, Debug, Default)]
pub struct DnsOptions<'a> {
    pub servers: &'a [IpAddr],
    /// One domain that is `.` means none at all.
    pub search: &'a [String],
    pub options: &'a [String],
}

/// `/etc/resolv.conf` of a container with a network namespace of its own.
///
/// The host's servers on loopback addresses are left out, as they would be the container's own; if that leaves none, the
/// [`FALLBACK_SERVERS`] are taken. Servers that the user names are taken as they are.
pub fn resolv_conf(host: &str, dns: &DnsOptions<'_>) -> String {
    let mut conf = Resolv::parse(host);
    conf.servers.retain(|server| !is_loopback(server));
    if conf.servers.is_empty() {
        conf.servers = FALLBACK_SERVERS.iter().map(IpAddr::to_string).collect();
    }
    conf.apply(dns);
    conf.render()
}

/// `/etc/resolv.conf` of a container whose names are answered by this server, which asks the others.
pub fn resolv_conf_of_server(host: &str, dns: &DnsOptions<'_>, server: IpAddr) -> String {
    let mut conf = Resolv::parse(host);
    conf.apply(dns);
    conf.servers = vec![server.to_string()];
    // Names of a single label are the commonest here: they are asked for as they are.
    if !conf
        .options
        .iter()
        .any(|option| option.starts_with("ndots:"))
    {
        conf.options.push("ndots:0".to_owned());
    }
    conf.render()
}

/// `/etc/resolv.conf` of a container in the host's network namespace: the host's, but for what the user wants instead.
pub fn resolv_conf_of_host(host: &str, dns: &DnsOptions<'_>) -> String {
    if dns.servers.is_empty() && dns.search.is_empty() && dns.options.is_empty() {
        return host.to_owned();
    }
    let mut conf = Resolv::parse(host);
    conf.apply(dns);
    conf.render()
}

/// The host's configuration for containers with a namespace of their own: where the only server is systemd-resolved's stub,
/// the servers behind it. A host without the file has an empty one.
pub fn host_resolv_conf() -> io::Result<String> {
    let text = read_or_empty(RESOLV_CONF)?;
    let servers = Resolv::parse(&text).servers;
    let stub = !servers.is_empty()
        && servers
            .iter()
            .all(|server| server.parse() == Ok(RESOLVED_STUB));
    if stub {
        let behind = read_or_empty(RESOLVED_CONF)?;
        if !behind.is_empty() {
            return Ok(behind);
        }
    }
    Ok(text)
}

/// The servers that a resolver configuration names, as they are written there.
pub(crate) fn servers(text: &str) -> Vec<String> {
    Resolv::parse(text).servers
}

fn read_or_empty(path: &str) -> io::Result<String> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}

fn is_loopback(server: &str) -> bool {
    // A zone follows a '%'.
    let address = server.split('%').next().unwrap_or(server);
    address
        .parse()
        .is_ok_and(|address: IpAddr| address.is_loopback())
}

/// resolv.conf(5). Later `search` (or `domain`) and `options` lines are as the C library takes them: the last search list
/// counts, options add up.
#[derive(Debug, Default)]
struct Resolv {
    /// As written: an address with a zone is no `IpAddr`.
    servers: Vec<String>,
    search: Vec<String>,
    options: Vec<String>,
    /// Lines with other keywords (`sortlist`).
    others: Vec<String>,
}

impl Resolv {
    fn parse(text: &str) -> Self {
        let mut conf = Resolv::default();
        for line in text.lines() {
            let line = line.trim();
            if line.starts_with(['#', ';']) {
                continue;
            }
            let mut words = line.split_whitespace();
            let Some(keyword) = words.next() else {
                continue;
            };
            let rest = words.map(str::to_owned);
            match keyword {
                "nameserver" => conf.servers.extend(rest.take(1)),
                "search" | "domain" => conf.search = rest.collect(),
                "options" => conf.options.extend(rest),
                _ => conf.others.push(line.to_owned()),
            }
        }
        conf
    }

    fn apply(&mut self, dns: &DnsOptions<'_>) {
        if !dns.servers.is_empty() {
            self.servers = dns.servers.iter().map(IpAddr::to_string).collect();
        }
        if let [only] = dns.search
            && only == "."
        {
            self.search.clear();
        } else if !dns.search.is_empty() {
            self.search = dns.search.to_vec();
        }
        if !dns.options.is_empty() {
            self.options = dns.options.to_vec();
        }
    }

    fn render(&self) -> String {
        let mut text = "# Made by Dhow for this container, which may change it.\n".to_owned();
        for server in &self.servers {
            // Writing to a string can't fail.
            let _ = writeln!(text, "nameserver {server}");
        }
        for (keyword, words) in [("search", &self.search), ("options", &self.options)] {
            if !words.is_empty() {
                let _ = writeln!(text, "{keyword} {}", words.join(" "));
            }
        }
        for other in &self.others {
            let _ = writeln!(text, "{other}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_a_container() {
        let extra = [
            "db:10.0.0.9".to_owned(),
            "host=host-gateway".to_owned(),
            "six:[fd00::1]".to_owned(),
        ];
        let text = hosts(&Hosts {
            hostname: "web",
            domain: "example.org",
            addresses: &["172.17.0.2".parse().unwrap()],
            extra: &extra,
            linked: &[("172.17.0.9".parse().unwrap(), "data store".to_owned())],
            host_gateway: "172.17.0.1".parse().ok(),
        })
        .unwrap();
        assert_eq!(
            text.strip_prefix(HOSTS_DEFAULTS).unwrap(),
            "10.0.0.9\tdb\n172.17.0.1\thost\nfd00::1\tsix\n172.17.0.9\tdata store\n172.17.0.2\tweb.example.org web\n"
        );
        let plain = hosts(&Hosts {
            hostname: "web",
            ..Hosts::default()
        });
        assert_eq!(plain.unwrap(), HOSTS_DEFAULTS);
    }

    #[test]
    fn a_host_gets_another_address_or_goes() {
        let text =
            "127.0.0.1\tlocalhost\n172.17.0.9\tdata store\n10.9.9.9\tdata\n172.17.0.2\tweb\n";
        let address = "172.17.0.7".parse().unwrap();
        assert_eq!(
            with_host(text, "data", Some((address, "data store db"))),
            text.replace("172.17.0.9\tdata store", "172.17.0.7\tdata store db")
        );
        let without = with_host(text, "data", None);
        assert_eq!(without, text.replace("172.17.0.9\tdata store\n", ""));
        let again = with_host(&without, "data", Some((address, "data store")));
        assert_eq!(again, format!("{without}172.17.0.7\tdata store\n"));
    }

    #[test]
    fn bad_extra_hosts() {
        for (entry, expected) in [
            ("db", FileError::BadExtraHost("db".into())),
            (":1.2.3.4", FileError::BadExtraHost(":1.2.3.4".into())),
            (
                "a\nb:1.2.3.4",
                FileError::BadExtraHost("a\nb:1.2.3.4".into()),
            ),
            ("db:1.2.3", FileError::BadExtraAddress("db:1.2.3".into())),
            ("db:host-gateway", FileError::NoHostGateway),
        ] {
            let extra = [entry.to_owned()];
            let result = hosts(&Hosts {
                extra: &extra,
                ..Hosts::default()
            });
            assert_eq!(result, Err(expected));
        }
        assert_eq!(split_extra_host("six:fd00::1"), Ok(("six", "fd00::1")));
    }

    const HOST: &str = "# made by hand\nnameserver 127.0.0.53\nnameserver 10.0.0.53\nnameserver ::1\n\
        nameserver fe80::1%eth0\nsearch old\ndomain corp.example\noptions ndots:2 edns0\noptions trust-ad\nsortlist 10.0.0.0\n";

    #[test]
    fn the_hosts_reachable_servers() {
        assert_eq!(
            resolv_conf(HOST, &DnsOptions::default()),
            "# Made by Dhow for this container, which may change it.\nnameserver 10.0.0.53\nnameserver fe80::1%eth0\n\
             search corp.example\noptions ndots:2 edns0 trust-ad\nsortlist 10.0.0.0\n"
        );
        assert_eq!(resolv_conf_of_host(HOST, &DnsOptions::default()), HOST);
    }

    #[test]
    fn the_containers_own_server_is_the_only_one() {
        let server = "127.0.0.11".parse().unwrap();
        let conf = |dns: &DnsOptions<'_>| resolv_conf_of_server(HOST, dns, server);
        assert_eq!(
            conf(&DnsOptions::default()),
            "# Made by Dhow for this container, which may change it.\nnameserver 127.0.0.11\n\
             search corp.example\noptions ndots:2 edns0 trust-ad\nsortlist 10.0.0.0\n"
        );
        let chosen = DnsOptions {
            servers: &["10.0.0.53".parse().unwrap()],
            options: &["rotate".to_owned()],
            ..DnsOptions::default()
        };
        assert!(
            conf(&chosen)
                .contains("nameserver 127.0.0.11\nsearch corp.example\noptions rotate ndots:0\n")
        );
    }

    #[test]
    fn servers_when_the_host_has_none() {
        let text = resolv_conf("nameserver 127.0.0.1\n", &DnsOptions::default());
        assert!(
            text.ends_with("nameserver 8.8.8.8\nnameserver 8.8.4.4\n"),
            "{text}"
        );
    }

    #[test]
    fn the_users_choice_replaces_the_hosts() {
        let dns = DnsOptions {
            servers: &["127.0.0.1".parse().unwrap()],
            search: &[".".to_owned()],
            options: &["ndots:1".to_owned()],
        };
        let expected = "nameserver 127.0.0.1\noptions ndots:1\nsortlist 10.0.0.0\n";
        assert!(resolv_conf(HOST, &dns).ends_with(expected));
        assert!(resolv_conf_of_host(HOST, &dns).ends_with(expected));
    }
}
