//! TCP's keepalive, tcp(7): a peer that lost its power or its network never closes a connection, and events, logs and
//! attached streams may have nothing to say for days.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt;

/// How long a peer may be silent before it is asked whether it is still there, how long it has for each answer, and how
/// often it is asked.
const SILENCE: Duration = Duration::from_secs(30);
const ANSWER: Duration = Duration::from_secs(10);
const QUESTIONS: u32 = 3;

/// Has the kernel notice within a minute that the other end of a TCP socket is gone. Fails on what is no TCP socket.
pub fn keep_alive(socket: impl AsFd) -> io::Result<()> {
    let socket = socket.as_fd();
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, SILENCE)?;
    sockopt::set_tcp_keepintvl(socket, ANSWER)?;
    sockopt::set_tcp_keepcnt(socket, QUESTIONS)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_peer_that_is_gone_is_noticed_within_a_minute() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(!sockopt::socket_keepalive(&stream).unwrap());
        keep_alive(&stream).unwrap();
        assert!(sockopt::socket_keepalive(&stream).unwrap());
        let silence = sockopt::tcp_keepidle(&stream).unwrap();
        let answer = sockopt::tcp_keepintvl(&stream).unwrap();
        let questions = sockopt::tcp_keepcnt(&stream).unwrap();
        assert!(silence + answer * questions <= Duration::from_secs(60));
        keep_alive(UnixStream::pair().unwrap().0).unwrap_err();
    }
}
