use super::*;

#[test]
fn an_index_that_the_kernel_has_taken() {
    std::thread::spawn(|| {
        // SAFETY: only this thread's network namespace changes.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
        let mut maker = Maker::new().unwrap();
        let bridge = crate::bridge::ensure(&mut maker.socket, &NetConfig::default()).unwrap();
        // As if every namespace were born with a second link of the kernel's.
        maker.index = Some(rtnl::LOOPBACK);
        let ip = std::net::Ipv4Addr::new(172, 17, 0, 2);
        for _ in 0..2 {
            let mac = MacAddr::of_ipv4(ip);
            let endpoint = maker
                .endpoint(&bridge, Addresses { ip, ipv6: None }, mac)
                .unwrap();
            assert!(host_link_number(&endpoint.host_link).is_some());
            assert_eq!(maker.index, None);
        }
    })
    .join()
    .unwrap();
}

#[test]
fn a_socket_that_broke_is_replaced() {
    std::thread::spawn(|| {
        // SAFETY: only this thread's network namespace changes.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
        let mut maker = Maker::new().unwrap();
        let bridge = crate::bridge::ensure(&mut maker.socket, &NetConfig::default()).unwrap();
        let ip = std::net::Ipv4Addr::new(172, 17, 0, 2);
        let addresses = Addresses { ip, ipv6: None };
        maker.socket.break_it();
        maker
            .endpoint(&bridge, addresses, MacAddr::of_ipv4(ip))
            .unwrap_err();
        maker
            .endpoint(&bridge, addresses, MacAddr::of_ipv4(ip))
            .unwrap();
    })
    .join()
    .unwrap();
}

#[test]
fn names_of_host_links() {
    for (number, name) in [(0, "veth0000000"), (0xabc_def1, "vethabcdef1")] {
        assert_eq!(host_link_name(number), name);
        assert_eq!(host_link_number(name), Some(number));
    }
    for other in [
        "veth0",
        "veth000000g",
        "veth000000A",
        "veth+000001",
        "eth0000000",
        "veth00000000",
    ] {
        assert_eq!(host_link_number(other), None, "{other}");
    }
    assert!(host_mac([0xff; 10]).is_usable());
}
