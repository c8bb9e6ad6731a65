//! Compares every hand-declared structure with the system's headers: a small C program prints sizes and offsets.
//! Run with `cargo test -p pathproof-rdma --features layout-check`. The `rdma-sys` crate was considered as a second
//! witness; it needs libclang 14 and does not build with newer ones, so the headers themselves are the witness.
#![cfg(feature = "layout-check")]
#![expect(clippy::print_stderr, reason = "a skipped test must say so")]

use std::collections::BTreeMap;
use std::mem::{offset_of, size_of};
use std::process::Command;

use pathproof_rdma::ffi::*;

/// What we believe, and the C expressions that tell the truth.
#[derive(Default)]
struct Beliefs {
    program: String,
    ours: BTreeMap<String, u64>,
}

impl Beliefs {
    fn expect(&mut self, c_expression: String, ours: usize) {
        self.program.push_str(&format!("P({c_expression})\n"));
        self.ours.insert(c_expression, ours as u64);
    }
}

/// `Rust = "struct c", whole|prefix { rust_field: "c_field", … }`
macro_rules! believe {
    ($b:expr, $rust:ty = $c:literal, $extent:ident { $($field:ident $(. $sub:ident)* : $c_field:literal),* $(,)? }) => {
        $( $b.expect(format!("offsetof({}, {})", $c, $c_field), offset_of!($rust, $field $(. $sub)*)); )*
        believe!(@$extent $b, $rust, $c);
    };
    (@whole $b:expr, $rust:ty, $c:literal) => { $b.expect(format!("sizeof({})", $c), size_of::<$rust>()); };
    (@prefix $b:expr, $rust:ty, $c:literal) => {};
}

#[test]
fn layouts_and_constants_equal_the_headers() {
    let mut b = Beliefs::default();
    believe!(b, IbvSge = "struct ibv_sge", whole { addr: "addr", length: "length", lkey: "lkey" });
    believe!(
        b,
        IbvSendWr = "struct ibv_send_wr",
        whole {
            wr_id: "wr_id",
            next: "next",
            sg_list: "sg_list",
            num_sge: "num_sge",
            opcode: "opcode",
            send_flags: "send_flags",
            imm_data_or_rkey: "imm_data",
            remote_addr: "wr.rdma.remote_addr",
            rkey: "wr.rdma.rkey",
            bind_mw: "bind_mw.mw",
            bind_rkey: "bind_mw.rkey",
            bind_mr: "bind_mw.bind_info.mr",
            bind_addr: "bind_mw.bind_info.addr",
            bind_length: "bind_mw.bind_info.length",
            bind_access: "bind_mw.bind_info.mw_access_flags",
        }
    );
    believe!(
        b,
        IbvRecvWr = "struct ibv_recv_wr",
        whole { wr_id: "wr_id", next: "next", sg_list: "sg_list", num_sge: "num_sge" }
    );
    believe!(
        b,
        IbvWc = "struct ibv_wc",
        whole {
            wr_id: "wr_id",
            status: "status",
            opcode: "opcode",
            vendor_err: "vendor_err",
            byte_len: "byte_len",
            imm_data_or_rkey: "imm_data",
            qp_num: "qp_num",
            src_qp: "src_qp",
            wc_flags: "wc_flags",
            pkey_index: "pkey_index",
            slid: "slid",
            sl: "sl",
            dlid_path_bits: "dlid_path_bits",
        }
    );
    believe!(
        b,
        IbvDeviceAttr = "struct ibv_device_attr",
        whole {
            fw_ver: "fw_ver",
            node_guid: "node_guid",
            max_mr_size: "max_mr_size",
            vendor_id: "vendor_id",
            max_qp: "max_qp",
            max_qp_wr: "max_qp_wr",
            device_cap_flags: "device_cap_flags",
            max_sge: "max_sge",
            max_cq: "max_cq",
            max_cqe: "max_cqe",
            max_mr: "max_mr",
            max_qp_rd_atom: "max_qp_rd_atom",
            max_qp_init_rd_atom: "max_qp_init_rd_atom",
            max_mw: "max_mw",
            max_srq_sge: "max_srq_sge",
            max_pkeys: "max_pkeys",
            phys_port_cnt: "phys_port_cnt",
        }
    );
    believe!(
        b,
        IbvPortAttr = "struct ibv_port_attr",
        whole {
            state: "state",
            max_mtu: "max_mtu",
            active_mtu: "active_mtu",
            gid_tbl_len: "gid_tbl_len",
            max_msg_sz: "max_msg_sz",
            lid: "lid",
            link_layer: "link_layer",
            flags: "flags",
            port_cap_flags2: "port_cap_flags2",
        }
    );
    believe!(
        b,
        IbvQpCap = "struct ibv_qp_cap",
        whole {
            max_send_wr: "max_send_wr",
            max_recv_wr: "max_recv_wr",
            max_send_sge: "max_send_sge",
            max_recv_sge: "max_recv_sge",
            max_inline_data: "max_inline_data",
        }
    );
    believe!(
        b,
        IbvQpInitAttr = "struct ibv_qp_init_attr",
        whole {
            qp_context: "qp_context",
            send_cq: "send_cq",
            recv_cq: "recv_cq",
            srq: "srq",
            cap: "cap",
            qp_type: "qp_type",
            sq_sig_all: "sq_sig_all",
        }
    );
    believe!(
        b,
        IbvGlobalRoute = "struct ibv_global_route",
        whole {
            dgid: "dgid",
            flow_label: "flow_label",
            sgid_index: "sgid_index",
            hop_limit: "hop_limit",
            traffic_class: "traffic_class",
        }
    );
    believe!(
        b,
        IbvAhAttr = "struct ibv_ah_attr",
        whole {
            grh: "grh",
            dlid: "dlid",
            sl: "sl",
            static_rate: "static_rate",
            is_global: "is_global",
            port_num: "port_num",
        }
    );
    believe!(
        b,
        IbvQpAttr = "struct ibv_qp_attr",
        whole {
            qp_state: "qp_state",
            path_mtu: "path_mtu",
            rq_psn: "rq_psn",
            sq_psn: "sq_psn",
            dest_qp_num: "dest_qp_num",
            qp_access_flags: "qp_access_flags",
            cap: "cap",
            ah_attr: "ah_attr",
            alt_ah_attr: "alt_ah_attr",
            pkey_index: "pkey_index",
            max_rd_atomic: "max_rd_atomic",
            max_dest_rd_atomic: "max_dest_rd_atomic",
            min_rnr_timer: "min_rnr_timer",
            port_num: "port_num",
            timeout: "timeout",
            retry_cnt: "retry_cnt",
            rnr_retry: "rnr_retry",
            rate_limit: "rate_limit",
        }
    );
    believe!(
        b,
        IbvAsyncEvent = "struct ibv_async_event",
        whole { element: "element", event_type: "event_type" }
    );
    believe!(b, IbvContext = "struct ibv_context", prefix {
        device: "device", ops: "ops", ops.poll_cq: "ops.poll_cq", ops.req_notify_cq: "ops.req_notify_cq",
        ops.post_send: "ops.post_send", ops.post_recv: "ops.post_recv", cmd_fd: "cmd_fd", async_fd: "async_fd",
        num_comp_vectors: "num_comp_vectors",
    });
    believe!(
        b,
        IbvContextOps = "struct ibv_context_ops",
        whole { alloc_mw: "alloc_mw", dealloc_mw: "dealloc_mw", poll_cq: "poll_cq" }
    );
    believe!(b, IbvPd = "struct ibv_pd", prefix { context: "context" });
    believe!(b, IbvCompChannel = "struct ibv_comp_channel", prefix { context: "context", fd: "fd" });
    believe!(b, IbvCq = "struct ibv_cq", prefix { context: "context" });
    believe!(b, IbvQp = "struct ibv_qp", prefix { context: "context", handle: "handle", qp_num: "qp_num" });
    believe!(
        b,
        IbvMr = "struct ibv_mr",
        whole {
            context: "context",
            pd: "pd",
            addr: "addr",
            length: "length",
            handle: "handle",
            lkey: "lkey",
            rkey: "rkey",
        }
    );
    believe!(
        b,
        IbvMw = "struct ibv_mw",
        whole { context: "context", pd: "pd", rkey: "rkey", handle: "handle", mw_type: "type" }
    );
    believe!(b, CmEventChannel = "struct rdma_event_channel", prefix { fd: "fd" });
    believe!(b, CmId = "struct rdma_cm_id", prefix { verbs: "verbs", channel: "channel" });
    believe!(
        b,
        CmConnParam = "struct rdma_conn_param",
        whole {
            private_data: "private_data",
            private_data_len: "private_data_len",
            responder_resources: "responder_resources",
            initiator_depth: "initiator_depth",
            flow_control: "flow_control",
            retry_count: "retry_count",
            rnr_retry_count: "rnr_retry_count",
            srq: "srq",
            qp_num: "qp_num",
        }
    );
    believe!(
        b,
        CmEvent = "struct rdma_cm_event",
        prefix { id: "id", listen_id: "listen_id", event: "event", status: "status", conn: "param.conn" }
    );
    macro_rules! constants { ($($name:ident),* $(,)?) => { $( b.expect(stringify!($name).into(), k::$name as usize); )* } }
    constants!(
        IBV_ACCESS_LOCAL_WRITE,
        IBV_ACCESS_REMOTE_WRITE,
        IBV_ACCESS_REMOTE_READ,
        IBV_WR_RDMA_WRITE,
        IBV_WR_RDMA_WRITE_WITH_IMM,
        IBV_WR_SEND,
        IBV_WR_SEND_WITH_IMM,
        IBV_WR_RDMA_READ,
        IBV_WR_SEND_WITH_INV,
        IBV_SEND_SIGNALED,
        IBV_SEND_INLINE,
        IBV_WC_RECV,
        IBV_WC_RECV_RDMA_WITH_IMM,
        IBV_WC_WITH_IMM,
        IBV_WC_SUCCESS,
        IBV_WC_WR_FLUSH_ERR,
        IBV_QPT_RC,
        IBV_QPS_INIT,
        IBV_QPS_RTR,
        IBV_QPS_RTS,
        IBV_QPS_ERR,
        IBV_QP_STATE,
        IBV_QP_ACCESS_FLAGS,
        IBV_QP_PKEY_INDEX,
        IBV_QP_PORT,
        IBV_QP_AV,
        IBV_QP_PATH_MTU,
        IBV_QP_TIMEOUT,
        IBV_QP_RETRY_CNT,
        IBV_QP_RNR_RETRY,
        IBV_QP_RQ_PSN,
        IBV_QP_MAX_QP_RD_ATOMIC,
        IBV_QP_MIN_RNR_TIMER,
        IBV_QP_SQ_PSN,
        IBV_QP_MAX_DEST_RD_ATOMIC,
        IBV_QP_DEST_QPN,
        IBV_PORT_ACTIVE,
        IBV_EVENT_CQ_ERR,
        IBV_EVENT_QP_FATAL,
        IBV_EVENT_QP_REQ_ERR,
        IBV_EVENT_QP_ACCESS_ERR,
        IBV_EVENT_DEVICE_FATAL,
        IBV_EVENT_PORT_ACTIVE,
        IBV_EVENT_PORT_ERR,
        RDMA_CM_EVENT_ADDR_RESOLVED,
        RDMA_CM_EVENT_ADDR_ERROR,
        RDMA_CM_EVENT_ROUTE_RESOLVED,
        RDMA_CM_EVENT_CONNECT_REQUEST,
        RDMA_CM_EVENT_CONNECT_RESPONSE,
        RDMA_CM_EVENT_REJECTED,
        RDMA_CM_EVENT_ESTABLISHED,
        RDMA_CM_EVENT_DISCONNECTED,
        RDMA_CM_EVENT_DEVICE_REMOVAL,
        RDMA_CM_EVENT_TIMEWAIT_EXIT,
        RDMA_PS_TCP,
        RDMA_OPTION_ID,
        RDMA_OPTION_ID_TOS,
    );

    let program = format!(
        "#include <stdio.h>\n#include <stddef.h>\n#include <infiniband/verbs.h>\n#include <rdma/rdma_cma.h>\n\
         #define P(x) printf(\"%s=%llu\\n\", #x, (unsigned long long)(x));\nint main(void) {{\n{}return 0; }}\n",
        b.program
    );
    let folder = std::env::temp_dir().join(format!("pathproof-layout-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (source, binary) = (folder.join("layout.c"), folder.join("layout"));
    std::fs::write(&source, program).unwrap();
    let built = Command::new("cc").arg("-o").arg(&binary).arg(&source).output();
    match built {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            assert!(
                std::env::var_os("PATHPROOF_REQUIRE_LAB").is_none_or(|v| v != "1"),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            eprintln!("SKIPPED: no headers (apt-get install libibverbs-dev librdmacm-dev)");
            return;
        }
        Err(error) => panic!("no C compiler: {error}"),
    }
    let output = Command::new(&binary).output().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    // The preprocessor expands constants that are macros, so lines are matched by order, not by name.
    let lines: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    let asked: Vec<&str> = b.program.lines().map(|l| &l[2..l.len() - 1]).collect();
    assert_eq!(lines.len(), asked.len());
    let wrong: Vec<String> = asked
        .iter()
        .zip(&lines)
        .filter_map(|(name, line)| {
            let theirs: u64 = line.rsplit('=').next().unwrap().parse().unwrap();
            let ours = b.ours[*name];
            (ours != theirs).then(|| format!("{name}: ours {ours}, the header's {theirs}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    eprintln!("{} sizes, offsets and constants agree", asked.len());
}
