//! Tests that need a network of their own: the test runs again as a child in a new network namespace,
//! where it may set up the loopback interface as it likes.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Set in the child.
const INSIDE: &str = "PARLOUR_TEST_OWN_NETWORK";

/// Run `body` in a network with nothing but a loopback interface of that MTU. `test` is the whole name
/// of the calling test.
pub(crate) fn with_loopback_mtu(test: &str, mtu: libc::c_int, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        set_up_loopback(mtu).unwrap();
        body();
        return;
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, "1");
    // SAFETY: getuid only tells.
    let root_is = format!("0 {} 1", unsafe { libc::getuid() });
    // SAFETY: bare system calls are all that is done between fork and exec.
    unsafe { child.pre_exec(move || enter_new_network(root_is.as_bytes())) };
    let output = child.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && told.contains("1 passed"),
        "in a network of its own: {told}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Root may have a network of its own; everybody else first becomes root of a user namespace.
fn enter_new_network(root_is: &[u8]) -> io::Result<()> {
    // SAFETY: no memory is passed to unshare; the path and the map outlive open and write.
    unsafe {
        if libc::unshare(libc::CLONE_NEWNET) == 0 {
            return Ok(());
        }
        if libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET) != 0 {
            return Err(io::Error::last_os_error());
        }
        let map = libc::open(c"/proc/self/uid_map".as_ptr(), libc::O_WRONLY);
        match libc::write(map, root_is.as_ptr().cast(), root_is.len()) {
            written if written == root_is.len() as isize => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

fn set_up_loopback(mtu: libc::c_int) -> io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: an all-zero ifreq is a valid one without a name.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_mtu = mtu;
    ask(&socket, libc::SIOCSIFMTU, &mut request)?;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    ask(&socket, libc::SIOCSIFFLAGS, &mut request)
}

/// Give the loopback interface one more IPv6 address. Call it inside.
pub(crate) fn add_loopback_address(address: std::net::Ipv6Addr) {
    use std::os::fd::AsRawFd;
    let socket = std::net::UdpSocket::bind("[::]:0").unwrap();
    let request = libc::in6_ifreq {
        ifr6_addr: libc::in6_addr {
            s6_addr: address.octets(),
        },
        ifr6_prefixlen: 128,
        // The loopback interface is the first one of every network.
        ifr6_ifindex: 1,
    };
    // SAFETY: the request reads one in6_ifreq, which outlives the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFADDR as _, &request) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
    // It is usable once the system has found that nobody else has it.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while let Err(error) = std::net::UdpSocket::bind((address, 0)) {
        assert!(std::time::Instant::now() < deadline, "{address}: {error}");
        std::thread::yield_now();
    }
}

fn ask(
    socket: &std::net::UdpSocket,
    what: libc::c_ulong,
    request: &mut libc::ifreq,
) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    // SAFETY: both requests read one ifreq, which outlives the call.
    match unsafe { libc::ioctl(socket.as_raw_fd(), what as _, request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
