use std::process::Command;

use rustix::thread::UnshareFlags;

use super::*;
use crate::endpoint::{PortRequest, Protocol};
use crate::nft::ruleset::FamilyRules;

#[test]
fn knows_whether_the_table_is_intact() {
    std::thread::spawn(|| {
        // SAFETY: only this thread's network namespace changes.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
        let bridge = BridgeRules {
            name: "dhow0".to_owned(),
            subnet: "172.17.0.0/16".parse().unwrap(),
            subnet6: None,
            ip: FamilyRules::default(),
            ip6: FamilyRules::default(),
            icc: true,
            internal: false,
            trusted: Vec::new(),
            direct: true,
        };
        let any = Ipv4Addr::UNSPECIFIED;
        let mut firewall = Firewall::open("dhow".into(), vec![bridge], any, &[]).unwrap();
        assert!(firewall.is_intact().unwrap());
        let port = |container_port, port| PortRequest {
            protocol: Protocol::Tcp,
            container_port,
            host_ip: None,
            host_ports: Some((port, port)),
        };
        let mut requests: Vec<_> = (8000..8100).map(|p| port(p, p)).collect();
        requests.extend((9000..9700).map(|p| port(80, p)));
        let container = Addresses {
            ip: Ipv4Addr::new(172, 17, 0, 2),
            ipv6: None,
        };
        firewall.publish(container, "a", &requests).unwrap();
        assert!(firewall.is_intact().unwrap());
        // One port of many that are one entry goes, comes for another port of the container, and comes back.
        let published = |container_port, host_port| PortBinding {
            protocol: Protocol::Tcp,
            container_port,
            host_ip: any.into(),
            host_port,
        };
        let (as_it_was, other) = ([published(8050, 8050)], [published(80, 8050)]);
        for (gone, come) in [
            (&as_it_was[..], &[][..]),
            (&[], &other),
            (&other, &as_it_was),
        ] {
            firewall.exchange(container, "a", gone, come).unwrap();
            assert!(firewall.is_intact().unwrap(), "{come:?}");
        }
        // Our own changes ask for no repair.
        firewall.watch();
        assert_eq!(firewall.repair.due, None);
        for damage in [
            "delete element ip dhow ports { tcp . 9000 }",
            "flush map ip dhow port_ranges",
            "flush chain ip dhow filter-forward",
            "delete table ip dhow",
        ] {
            assert!(Command::new("nft").arg(damage).status().unwrap().success());
            assert!(!firewall.is_intact().unwrap_or(false), "{damage}");
            firewall.watch();
            assert!(firewall.repair.due.take().is_some(), "{damage}");
            firewall.replace().unwrap();
            assert!(firewall.is_intact().unwrap(), "{damage}");
        }
    })
    .join()
    .unwrap();
}

#[test]
fn a_dead_thread_is_replaced_and_a_broken_socket_too() {
    fn work(firewall: &mut Firewall, job: Job) {
        match &job {
            Job::Publish { name, .. } if name == "poison" => panic!("poisoned"),
            Job::Publish { name, .. } if name == "cut" => firewall.socket.break_it(),
            _ => {}
        }
        firewall.work(job);
    }
    std::thread::spawn(|| {
        // SAFETY: only this thread's network namespace changes.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
        let any = Ipv4Addr::UNSPECIFIED;
        let firewall = Firewall::open("dhow".into(), Vec::new(), any, &[]).unwrap();
        let (handle, thread) = firewall.start_with(work).unwrap();
        let publish = |name: &str, port| {
            let (reply, answer) = oneshot::channel();
            handle.submit(Job::Publish {
                endpoint: Addresses {
                    ip: Ipv4Addr::new(172, 17, 0, 2),
                    ipv6: None,
                },
                id: name.to_owned(),
                name: name.to_owned(),
                requests: vec![PortRequest {
                    protocol: Protocol::Tcp,
                    container_port: 80,
                    host_ip: None,
                    host_ports: Some((port, port)),
                }],
                reply,
            });
            answer
        };
        let first = publish("a", 9000).blocking_recv().unwrap().unwrap();
        let lost = publish("poison", 9001);
        let queued = publish("b", 9002);
        lost.blocking_recv().unwrap_err();
        assert!(!handle.is_stopped());
        let second = queued.blocking_recv().unwrap().unwrap();
        let _ = publish("cut", 9003).blocking_recv().unwrap();
        let third = publish("c", 9004).blocking_recv().unwrap().unwrap();
        let rules = Command::new("nft")
            .args(["list", "table", "ip", "dhow"])
            .output();
        let rules = String::from_utf8(rules.unwrap().stdout).unwrap();
        for port in ["9000", "9002", "9004"] {
            assert!(rules.contains(port), "{port}: {rules}");
        }
        assert!(!rules.contains("9001"), "{rules}");
        handle.submit(Job::Stop { remove_table: true });
        thread.join().unwrap();
        drop((first, second, third));
    })
    .join()
    .unwrap();
}
