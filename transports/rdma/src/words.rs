//! Turns codes of verbs into sentences an operator can act on: completion statuses, asynchronous events, and the
//! reasons why a call was refused. It refuses to invent: an unknown code is shown as a number.

use std::io;

use pathproof_api::TransportError;

use crate::ffi::{CM_LIBRARY, LoadError, VERBS_LIBRARY, k};

/// Name of a completion status (IBTA vol. 1, ch. 11.6.2; `enum ibv_wc_status`).
pub fn status_name(status: u32) -> &'static str {
    match status {
        0 => "success",
        1 => "local length error",
        2 => "local queue-pair operation error",
        4 => "local protection error",
        5 => "flushed",
        6 => "memory window bind error",
        7 => "bad response",
        8 => "local access error",
        9 => "remote invalid request",
        10 => "remote access error",
        11 => "remote operation error",
        12 => "transport retry counter exceeded",
        13 => "receiver-not-ready retry counter exceeded",
        16 => "remote aborted",
        19 => "fatal error",
        20 => "response timeout",
        21 => "general error",
        _ => "unknown status",
    }
}

/// What a failed completion usually means on this kind of fabric, and what to check.
pub fn status_sentence(status: u32) -> String {
    let meaning = match status {
        1 => "a message was longer than the receive that took it; both ends must use the same sizes",
        2 => "the adapter could not execute the request as posted; suspect the driver or an unsupported verb",
        4 => "the local memory key does not cover the buffer; this is a fault of this program",
        5 => {
            "the queue pair was already in error, so this request was never executed; look at the first error instead"
        }
        6 => "the memory window could not be bound",
        7 => "an answer with an unexpected opcode arrived; suspect corruption or a peer that was restarted",
        8 => "a local buffer could not be accessed by the adapter",
        9 => {
            "the peer's adapter judged the request invalid: a message longer than its receive, or an operation its queue pair does not allow"
        }
        10 => {
            "the peer's memory key, address range or permission does not allow this access; the peer may have dropped its registration"
        }
        11 => "the peer's adapter could not complete the request",
        12 => {
            "no acknowledgement came although every retry was spent: the peer is gone, the path drops RoCE packets \
               (UDP port 4791 filtered, congestion without PFC or ECN), or a hop carries less than the RDMA path MTU; \
               check the link, `pathproof mtu` and the discard and pause counters of NICs and switches"
        }
        13 => "the peer kept answering that no receive was posted: its application is stuck or too slow",
        16 => "the peer's adapter aborted the request",
        19 => "the adapter reported a fatal error; see the kernel log",
        20 => "a response did not come in time",
        21 => "the adapter reported an error without details; see the kernel log (dmesg)",
        _ => "the meaning of this status is not known to this program",
    };
    format!("{} (status {status}): {meaning}", status_name(status))
}

/// The same of a receive, which this end's own adapter judges.
pub fn receive_sentence(status: u32) -> String {
    let meaning = match status {
        9 => {
            "the peer sent what this end's adapter cannot take: a message longer than its receive, or one that ends a memory key which is not open to it"
        }
        _ => return status_sentence(status),
    };
    format!("{} (status {status}): {meaning}", status_name(status))
}

/// What an asynchronous event means; `None` for those that need no attention.
pub fn event_sentence(event: u32) -> Option<String> {
    let words = match event {
        k::IBV_EVENT_CQ_ERR => "a completion queue overflowed or broke",
        k::IBV_EVENT_QP_FATAL => {
            "the queue pair met a fatal error: the peer or the link disappeared, or the adapter failed"
        }
        k::IBV_EVENT_QP_REQ_ERR => "the queue pair received an invalid request from the peer",
        k::IBV_EVENT_QP_ACCESS_ERR => "the peer tried to access memory that it has no right to",
        k::IBV_EVENT_DEVICE_FATAL => {
            "the RDMA device failed or was removed (`rdma link delete`, driver unload)"
        }
        k::IBV_EVENT_PORT_ERR => "the RDMA port went down (link lost or set down)",
        _ => return None,
    };
    Some(words.to_owned())
}

/// A library that is missing or too old, with the command that fixes it.
pub fn missing_library(error: &LoadError) -> TransportError {
    let package = match error {
        LoadError::Library { library, .. } | LoadError::Symbol { library, .. } => {
            if library.contains("rdmacm") { "librdmacm1" } else { "libibverbs1 ibverbs-providers" }
        }
    };
    let fix = match error {
        LoadError::Library { .. } => {
            format!(
                "install rdma-core's libraries: apt-get install {package} (dnf install rdma-core libibverbs librdmacm)"
            )
        }
        LoadError::Symbol { .. } => format!("update rdma-core: apt-get install --only-upgrade {package}"),
    };
    TransportError::Unsupported { what: "RDMA".into(), why: error.to_string(), fix }
}

/// Why there is no RDMA device, as far as `/sys` tells, with the command that fixes it.
pub fn no_device(class_folder_exists: bool, devices_in_sysfs: usize, uverbs_loaded: bool) -> TransportError {
    let (why, fix) = if devices_in_sysfs > 0 && !uverbs_loaded {
        (
            format!(
                "the kernel has {devices_in_sysfs} RDMA device(s), but not the module that lets programs use them"
            ),
            "load it: modprobe ib_uverbs rdma_ucm".to_owned(),
        )
    } else if devices_in_sysfs > 0 {
        (
            format!("the kernel has {devices_in_sysfs} RDMA device(s), but {VERBS_LIBRARY} found none that it can drive"),
            "install the provider libraries (apt-get install ibverbs-providers) and check the permissions of /dev/infiniband".to_owned(),
        )
    } else if class_folder_exists {
        (
            "the kernel has RDMA support but no RDMA device".to_owned(),
            "load the adapter's RDMA driver (mlx5_ib, irdma, bnxt_re, qedr …), or make a software device: \
             modprobe rdma_rxe && rdma link add rxe0 type rxe netdev NIC"
                .to_owned(),
        )
    } else {
        (
            "this kernel has no RDMA support loaded (/sys/class/infiniband does not exist)".to_owned(),
            "load the adapter's RDMA driver, or make a software device: modprobe rdma_rxe && rdma link add rxe0 type \
             rxe netdev NIC; on a machine whose kernel has neither, scripts/lab/vm gives a guest that does"
                .to_owned(),
        )
    };
    TransportError::Unsupported { what: "RDMA".into(), why, fix }
}

/// The limit on locked memory of this process in bytes; `None` when unlimited or unknown.
pub fn locked_memory_limit_bytes() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel fills the structure that the pointer names.
    let failed = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) } != 0;
    if failed || limit.rlim_cur == libc::RLIM_INFINITY { None } else { Some(limit.rlim_cur) }
}

/// A refused memory registration.
pub fn registration_failed(bytes: u64, source: io::Error, locked_limit_bytes: Option<u64>) -> TransportError {
    let operation = format!("registering {bytes} bytes of memory with the RDMA device");
    match (source.raw_os_error(), locked_limit_bytes) {
        (Some(libc::ENOMEM | libc::EAGAIN | libc::EPERM), Some(limit)) => TransportError::Resource {
            operation,
            detail: format!("{source}: this process may lock only {limit} bytes of memory"),
            fix: "raise the limit: `ulimit -l unlimited` in this shell, LimitMEMLOCK=infinity in a service, or a \
                  line `* - memlock unlimited` in /etc/security/limits.conf; or run as root"
                .into(),
        },
        (Some(libc::ENOMEM), None) => TransportError::Resource {
            operation,
            detail: format!("{source}: the device or the machine has no memory or no keys left"),
            fix: "use fewer lanes, smaller messages or less depth".into(),
        },
        _ => TransportError::Io { operation, source },
    }
}

/// A refused call that makes an object on a device.
pub fn creation_failed(what: &str, device: &str, source: io::Error) -> TransportError {
    let operation = format!("making {what} on {device}");
    match source.raw_os_error() {
        Some(libc::ENOMEM | libc::EINVAL | libc::ENOSPC) => TransportError::Resource {
            operation,
            detail: format!("{source}: most likely a limit of the device was met"),
            fix: "use fewer lanes or less depth; `pathproof devices` shows the limits".into(),
        },
        _ => TransportError::Io { operation, source },
    }
}

/// A device that cannot be opened.
pub fn open_failed(device: &str, source: io::Error) -> TransportError {
    match source.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => TransportError::Unsupported {
            what: format!("RDMA device {device}"),
            why: format!("it may not be opened by this user ({source})"),
            fix: "run as root, or give the user access to /dev/infiniband/uverbs* (group rdma)".into(),
        },
        _ => TransportError::Unsupported {
            what: format!("RDMA device {device}"),
            why: format!("it cannot be opened ({source})"),
            fix: "check that /dev/infiniband/uverbs* exists (modprobe ib_uverbs) and see dmesg".into(),
        },
    }
}

/// A connection-manager failure on this name.
pub fn cm_unavailable(source: io::Error) -> TransportError {
    TransportError::Unsupported {
        what: "the RDMA connection manager".into(),
        why: format!("{CM_LIBRARY} could not open its channel ({source})"),
        fix: "load its kernel module: modprobe rdma_ucm; and check /dev/infiniband/rdma_cm".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statuses_that_matter_name_their_cause() {
        assert!(status_sentence(12).contains("MTU"), "retry exceeded points at the path");
        assert!(status_sentence(13).contains("no receive"), "RNR points at the receiver");
        assert!(status_sentence(10).contains("key"), "remote access points at the key");
        assert!(status_sentence(9).contains("peer's adapter") && receive_sentence(9).contains("this end's"));
        assert_eq!(receive_sentence(10), status_sentence(10));
        assert!(status_sentence(77).contains("status 77"), "an unknown code is shown");
    }

    #[test]
    fn a_low_memlock_limit_is_named_with_its_remedy() {
        let error = registration_failed(1 << 20, io::Error::from_raw_os_error(libc::ENOMEM), Some(65_536));
        let text = error.to_string();
        assert!(text.contains("65536") && text.contains("ulimit -l"), "{text}");
    }

    #[test]
    fn the_stage_at_which_a_device_is_missing_is_told_apart() {
        assert!(no_device(false, 0, false).to_string().contains("no RDMA support loaded"));
        assert!(no_device(true, 0, true).to_string().contains("no RDMA device"));
        assert!(no_device(true, 2, false).to_string().contains("ib_uverbs"));
        assert!(no_device(true, 2, true).to_string().contains("ibverbs-providers"));
    }
}
