//! The system calls of the processes' life for which neither std nor rustix has a safe form.
//! All of it runs in a process with one thread: in the master, and in the worker before it starts
//! its shards.

use std::ffi::{CString, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use rustix::process::Pid;

/// Which side of a fork(2) this is.
pub enum Fork {
    /// The process that forked, with its child.
    Parent(Pid),
    /// The new process.
    Child,
}

/// fork(2). The child goes on with a copy of everything; call it with one thread only, since locks
/// that another thread holds at that moment would never be released in the child.
///
/// # Errors
/// EAGAIN and ENOMEM, as fork(2) says.
pub fn fork() -> io::Result<Fork> {
    // SAFETY: the calling process has one thread (see above), so the child's copy of the heap and
    // of every lock is consistent.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Pid::from_raw(pid).map(Fork::Parent).ok_or_else(|| io::Error::other("fork() gave no process")),
    }
}

/// Ends the process at once, with no destructors: shards may still run on other threads, and what
/// they use must not be taken down beneath them.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes no pointers and has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Holds these signals back from the process, for `signal_descriptor` to read; threads and
/// children inherit it.
///
/// # Errors
/// EINVAL for what is no signal.
pub fn block_signals(signals: &[i32]) -> io::Result<()> {
    let set = signal_set(signals);
    // SAFETY: `set` is an initialised signal set, and the old one is not asked for.
    let error = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, ptr::null_mut()) };
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// A descriptor that delivers these blocked signals as data, signalfd(2); it never blocks a read.
///
/// # Errors
/// EMFILE and the like.
pub fn signal_descriptor(signals: &[i32]) -> io::Result<OwnedFd> {
    let set = signal_set(signals);
    // SAFETY: `set` is an initialised signal set; -1 asks for a new descriptor.
    let fd = unsafe { libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    owned(fd)
}

/// Ignores SIGPIPE: a peer that is gone is an error of the write, not the end of the process.
pub fn ignore_broken_pipes() {
    // SAFETY: SIG_IGN installs no handler, so nothing of ours runs in signal context.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// Points the descriptor `number` (0, 1 or 2) at the open file of `file`.
///
/// # Errors
/// What dup2(2) reports.
pub fn redirect(number: RawFd, file: &impl AsFd) -> io::Result<()> {
    // SAFETY: `file` is open; the standard descriptors belong to the whole process, which keeps no
    // assumption about what they refer to.
    let done = unsafe { libc::dup2(file.as_fd().as_raw_fd(), number) };
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Takes over a listening socket that this process was started with, whatever its number; the result
/// has another one. Call it before this process makes listening sockets itself: what was opened
/// here is never one, and so is left alone.
///
/// # Errors
/// EBADF for what is not open (any more), ENOTSOCK for what is no socket; EINVAL for a standard
/// descriptor and for a socket that does not listen on a stream.
pub fn take_over_listener(number: RawFd) -> io::Result<OwnedFd> {
    if number <= libc::STDERR_FILENO {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: fcntl(2) takes numbers here; one that is not open is refused with EBADF.
    let copy = owned(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, libc::STDERR_FILENO + 1) })?;
    let streams = rustix::net::sockopt::socket_type(&copy)? == rustix::net::SocketType::STREAM;
    if !streams || !rustix::net::sockopt::socket_acceptconn(&copy)? {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: a listening socket that came with the process: nothing here knows it by this number,
    // and `copy` keeps it open.
    unsafe { libc::close(number) };
    Ok(copy)
}

/// Makes `variables` the whole environment of this process, and its time zone that of TZ. False,
/// with nothing done, when the process has other threads, which might be reading it.
pub fn set_environment(variables: &[(OsString, OsString)]) -> bool {
    // SAFETY: tzset(3) as the C library declares it.
    unsafe extern "C" {
        fn tzset();
    }
    let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    if threads != 1 {
        return false;
    }
    let before: Vec<OsString> = std::env::vars_os().map(|(name, _)| name).collect();
    for name in before {
        // SAFETY: this is the only thread, so nobody reads the environment meanwhile.
        unsafe { std::env::remove_var(name) };
    }
    for (name, value) in variables {
        // SAFETY: as above.
        unsafe { std::env::set_var(name, value) };
    }
    // SAFETY: tzset(3) reads TZ and sets the C library's own state; no other thread is there to use it.
    unsafe { tzset() };
    true
}

/// A user of the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name it was looked up by.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// The number of its primary group.
    pub gid: u32,
}

/// getpwnam(3); `None` if there is no such user.
pub fn user(name: &str) -> Option<User> {
    let c_name = CString::new(name).ok()?;
    // SAFETY: `c_name` is a C string; the result, if any, points at a static buffer that no other
    // thread writes to, since there is only one.
    let entry = unsafe { libc::getpwnam(c_name.as_ptr()).as_ref() }?;
    Some(User { name: name.to_owned(), uid: entry.pw_uid, gid: entry.pw_gid })
}

/// getgrnam(3): the number of a group; `None` if there is no such group.
pub fn group(name: &str) -> Option<u32> {
    let c_name = CString::new(name).ok()?;
    // SAFETY: as for getpwnam above.
    let entry = unsafe { libc::getgrnam(c_name.as_ptr()).as_ref() }?;
    Some(entry.gr_gid)
}

/// setgid(2).
///
/// # Errors
/// EPERM without the privilege.
pub fn set_group(gid: u32) -> io::Result<()> {
    // SAFETY: takes a number, touches no memory of ours.
    status(unsafe { libc::setgid(gid) })
}

/// initgroups(3): the supplementary groups that the group database gives to the user, and `gid`.
///
/// # Errors
/// EPERM without the privilege; EINVAL for a name with a NUL.
pub fn set_supplementary_groups(name: &str, gid: u32) -> io::Result<()> {
    let name = CString::new(name)?;
    // SAFETY: `name` is a C string that outlives the call.
    status(unsafe { libc::initgroups(name.as_ptr(), gid) })
}

/// setuid(2): from root to a user, with no way back.
///
/// # Errors
/// EPERM without the privilege, EAGAIN at the user's limit of processes.
pub fn set_user(uid: u32) -> io::Result<()> {
    // SAFETY: takes a number, touches no memory of ours.
    status(unsafe { libc::setuid(uid) })
}

/// setsockopt(2) with an `int`, for the options that rustix does not name.
///
/// # Errors
/// What setsockopt(2) reports.
pub fn set_socket_option(socket: &impl AsFd, level: i32, option: i32, value: i32) -> io::Result<()> {
    // SAFETY: the pointer and the length describe the local `value`; the socket is open.
    status(unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    })
}

fn signal_set(signals: &[i32]) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the whole set it is given.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    for &signal in signals {
        // SAFETY: the set was initialised above; a number that is no signal is refused with EINVAL.
        unsafe { libc::sigaddset(set.as_mut_ptr(), signal) };
    }
    // SAFETY: initialised by sigemptyset.
    unsafe { set.assume_init() }
}

fn status(result: i32) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn owned(fd: RawFd) -> io::Result<OwnedFd> {
    status(fd.min(0))?;
    // SAFETY: a descriptor that the kernel has just made, and that nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn users_and_groups_are_looked_up() {
        assert_eq!(user("root"), Some(User { name: "root".into(), uid: 0, gid: 0 }));
        assert_eq!(user("no such user"), None);
        assert_eq!(group("root"), Some(0));
        assert_eq!(group("a\0b"), None);
    }
}
