use super::*;

#[test]
fn hosts_are_read_as_docker_reads_them() {
    let parse = |text: &str| text.parse::<Host>().ok();
    let tcp = |host: &str, port| Some(Host::Tcp(host.into(), port));
    assert_eq!(
        parse("unix:///run/x.sock"),
        Some(Host::Unix("/run/x.sock".into()))
    );
    assert_eq!(parse("tcp://0.0.0.0:2375"), tcp("0.0.0.0", Some(2375)));
    assert_eq!(parse("tcp://[::1]:99"), tcp("[::1]", Some(99)));
    assert_eq!(parse("tcp://[::1]"), tcp("[::1]", None));
    assert_eq!(parse("tcp://"), tcp("127.0.0.1", None));
    assert_eq!(parse("127.0.0.1:1"), tcp("127.0.0.1", Some(1)));
    assert_eq!(parse("fd://"), Some(Host::Systemd));
    for bad in [
        "",
        "unix://run/x",
        "http://x:1",
        "tcp://x:y",
        "tcp://x:1/p",
        "x",
        "tcp://x:70000",
    ] {
        assert_eq!(parse(bad), None, "{bad}");
    }
}

#[tokio::test]
async fn a_client_is_asked_whether_it_is_still_there() {
    let hosts = [Host::Tcp("127.0.0.1".into(), Some(0))];
    let mut listeners = Listener::bind_all(&hosts, None, None).await.unwrap();
    let client = TcpStream::connect(listeners[0].tcp_address().unwrap())
        .await
        .unwrap();
    let Accepted::Tcp(stream, None) = listeners[0].accept().await.unwrap() else {
        panic!("not TCP");
    };
    assert!(rustix::net::sockopt::socket_keepalive(&stream).unwrap());
    drop(client);
}

#[tokio::test]
async fn metrics_are_served_on_every_address_or_on_one() {
    let every = Listener::bind_metrics(":0").await.unwrap();
    let bound = every.tcp_address().unwrap();
    assert!(bound.ip().is_unspecified(), "{bound}");
    let reached = TcpStream::connect(("127.0.0.1", bound.port())).await;
    assert!(reached.is_ok(), "{reached:?}");
    let one = Listener::bind_metrics("127.0.0.1:0").await.unwrap();
    let taken = one.tcp_address().unwrap().to_string();
    let error = Listener::bind_metrics(&taken).await.map(drop).unwrap_err();
    assert!(error.to_string().contains("for metrics"), "{error}");
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_served_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d.sock");
    // Dropping a std listener leaves its path, as kill -9 does.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let hosts = [Host::Unix(path.clone())];
    let first = Listener::bind_all(&hosts, Some("0"), None).await.unwrap();
    let mode = std::fs::metadata(&path).unwrap().mode();
    assert_eq!(mode & 0o777, 0o660);
    let second = Listener::bind_all(&hosts, None, None)
        .await
        .map(drop)
        .unwrap_err();
    assert!(second.to_string().contains("already listens"), "{second}");
    drop(first);
    assert!(!path.exists());
    std::fs::write(&path, "").unwrap();
    let file = Listener::bind_all(&hosts, None, None)
        .await
        .map(drop)
        .unwrap_err();
    assert!(file.to_string().contains("not a socket"), "{file}");
    assert!(path.exists());
    let group = Listener::bind_all(
        &[Host::Unix(dir.path().join("g"))],
        Some("no-such-group"),
        None,
    )
    .await
    .map(drop)
    .unwrap_err();
    assert!(group.to_string().contains("no-such-group"), "{group}");
}
