//! The C side of verbs, declared by hand: only the structures, constants and functions that this crate uses.
//!
//! It refuses to be complete. Structures that the library allocates and we only look into are declared as
//! *prefixes* (they end where our interest ends) and are never made or copied here. Every layout is compared
//! with the system's headers by `tests/layout.rs` (feature `layout-check`).

mod load;

pub use load::{CM_LIBRARY, ConnectionManagerLibrary, LoadError, VERBS_LIBRARY, VerbsLibrary};

use std::ffi::{c_int, c_void};

/// `union ibv_gid`, as bytes in network order.
pub type Gid = [u8; 16];

/// An opaque `struct ibv_device`.
#[repr(C)]
pub struct IbvDevice {
    _opaque: [u8; 0],
}

/// A function pointer slot that is not called.
pub type Slot = *mut c_void;

/// `ibv_post_send` of a context.
pub type PostSend = unsafe extern "C" fn(*mut IbvQp, *mut IbvSendWr, *mut *mut IbvSendWr) -> c_int;
/// `ibv_post_recv` of a context.
pub type PostRecv = unsafe extern "C" fn(*mut IbvQp, *mut IbvRecvWr, *mut *mut IbvRecvWr) -> c_int;
/// `ibv_poll_cq` of a context.
pub type PollCq = unsafe extern "C" fn(*mut IbvCq, c_int, *mut IbvWc) -> c_int;
/// `ibv_req_notify_cq` of a context.
pub type ReqNotifyCq = unsafe extern "C" fn(*mut IbvCq, c_int) -> c_int;

/// `ibv_alloc_mw` of a context.
pub type AllocMw = unsafe extern "C" fn(*mut IbvPd, c_int) -> *mut IbvMw;
/// `ibv_dealloc_mw` of a context.
pub type DeallocMw = unsafe extern "C" fn(*mut IbvMw) -> c_int;

/// `struct ibv_context_ops`: the provider's functions. The header's inline functions call these; so do we.
#[repr(C)]
pub struct IbvContextOps {
    _before_alloc_mw: [Slot; 7],
    /// `alloc_mw`.
    pub alloc_mw: Option<AllocMw>,
    _bind_mw: Slot,
    /// `dealloc_mw`.
    pub dealloc_mw: Option<DeallocMw>,
    _before_poll_cq: Slot,
    /// `poll_cq`.
    pub poll_cq: Option<PollCq>,
    /// `req_notify_cq`.
    pub req_notify_cq: Option<ReqNotifyCq>,
    _before_post_send: [Slot; 12],
    /// `post_send`.
    pub post_send: Option<PostSend>,
    /// `post_recv`.
    pub post_recv: Option<PostRecv>,
    _rest: [Slot; 5],
}

/// Prefix of `struct ibv_context`.
#[repr(C)]
pub struct IbvContext {
    /// The device it belongs to.
    pub device: *mut IbvDevice,
    /// The provider's functions.
    pub ops: IbvContextOps,
    /// Command descriptor.
    pub cmd_fd: c_int,
    /// Descriptor that becomes readable on asynchronous events.
    pub async_fd: c_int,
    /// Completion vectors.
    pub num_comp_vectors: c_int,
}

/// Prefix of `struct ibv_pd`.
#[repr(C)]
pub struct IbvPd {
    /// The context it belongs to.
    pub context: *mut IbvContext,
}

/// Prefix of `struct ibv_comp_channel`.
#[repr(C)]
pub struct IbvCompChannel {
    /// The context it belongs to.
    pub context: *mut IbvContext,
    /// Descriptor that becomes readable on completion events.
    pub fd: c_int,
}

/// Prefix of `struct ibv_cq`.
#[repr(C)]
pub struct IbvCq {
    /// The context it belongs to.
    pub context: *mut IbvContext,
}

/// Prefix of `struct ibv_qp`.
#[repr(C)]
pub struct IbvQp {
    /// The context it belongs to.
    pub context: *mut IbvContext,
    _before_handle: [Slot; 5],
    /// Kernel handle.
    pub handle: u32,
    /// Queue-pair number.
    pub qp_num: u32,
}

/// Prefix of `struct ibv_mr`.
#[repr(C)]
pub struct IbvMr {
    /// The context it belongs to.
    pub context: *mut IbvContext,
    /// The protection domain.
    pub pd: *mut IbvPd,
    /// First byte.
    pub addr: *mut c_void,
    /// Length in bytes.
    pub length: usize,
    /// Kernel handle.
    pub handle: u32,
    /// Key for local use.
    pub lkey: u32,
    /// Key for the peer's use.
    pub rkey: u32,
}

/// `struct ibv_mw`.
#[repr(C)]
pub struct IbvMw {
    /// The context it belongs to.
    pub context: *mut IbvContext,
    /// The protection domain.
    pub pd: *mut IbvPd,
    /// Key for the peer's use.
    pub rkey: u32,
    /// Kernel handle.
    pub handle: u32,
    /// `IBV_MW_TYPE_*`.
    pub mw_type: c_int,
}

/// `struct ibv_sge`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct IbvSge {
    /// First byte.
    pub addr: u64,
    /// Length in bytes.
    pub length: u32,
    /// Local key.
    pub lkey: u32,
}

/// `struct ibv_send_wr`. Of its unions only the members for reliable connections are named.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct IbvSendWr {
    /// Comes back in the completion.
    pub wr_id: u64,
    /// Next of a linked list.
    pub next: *mut IbvSendWr,
    /// Local memory.
    pub sg_list: *mut IbvSge,
    /// Entries of `sg_list`.
    pub num_sge: c_int,
    /// `IBV_WR_*`.
    pub opcode: u32,
    /// `IBV_SEND_*`.
    pub send_flags: u32,
    /// Immediate data in network order, or the key to invalidate.
    pub imm_data_or_rkey: u32,
    /// `wr.rdma.remote_addr`.
    pub remote_addr: u64,
    /// `wr.rdma.rkey`.
    pub rkey: u32,
    _rest_of_wr: [u32; 5],
    _qp_type: u64,
    /// `bind_mw.mw`.
    pub bind_mw: *mut IbvMw,
    /// `bind_mw.rkey`: the key to give it.
    pub bind_rkey: u32,
    /// `bind_mw.bind_info.mr`.
    pub bind_mr: *mut IbvMr,
    /// `bind_mw.bind_info.addr`.
    pub bind_addr: u64,
    /// `bind_mw.bind_info.length`.
    pub bind_length: u64,
    /// `bind_mw.bind_info.mw_access_flags`.
    pub bind_access: u32,
}

impl IbvSendWr {
    /// A work request of all zeroes, which is a SEND of nothing once its opcode is set.
    pub const fn empty() -> IbvSendWr {
        IbvSendWr {
            wr_id: 0,
            next: std::ptr::null_mut(),
            sg_list: std::ptr::null_mut(),
            num_sge: 0,
            opcode: 0,
            send_flags: 0,
            imm_data_or_rkey: 0,
            remote_addr: 0,
            rkey: 0,
            _rest_of_wr: [0; 5],
            _qp_type: 0,
            bind_mw: std::ptr::null_mut(),
            bind_rkey: 0,
            bind_mr: std::ptr::null_mut(),
            bind_addr: 0,
            bind_length: 0,
            bind_access: 0,
        }
    }
}

/// `struct ibv_recv_wr`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct IbvRecvWr {
    /// Comes back in the completion.
    pub wr_id: u64,
    /// Next of a linked list.
    pub next: *mut IbvRecvWr,
    /// Local memory.
    pub sg_list: *mut IbvSge,
    /// Entries of `sg_list`.
    pub num_sge: c_int,
}

/// `struct ibv_wc`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct IbvWc {
    /// Of the work request.
    pub wr_id: u64,
    /// `IBV_WC_*`; 0 is success.
    pub status: u32,
    /// What completed; undefined when `status` is not success.
    pub opcode: u32,
    /// The provider's own code.
    pub vendor_err: u32,
    /// Bytes received.
    pub byte_len: u32,
    /// Immediate data in network order, or the invalidated key.
    pub imm_data_or_rkey: u32,
    /// Local queue pair.
    pub qp_num: u32,
    /// Remote queue pair (datagrams only).
    pub src_qp: u32,
    /// `IBV_WC_*` flags.
    pub wc_flags: u32,
    /// Partition key index.
    pub pkey_index: u16,
    /// Source LID.
    pub slid: u16,
    /// Service level.
    pub sl: u8,
    /// Path bits.
    pub dlid_path_bits: u8,
}

/// `struct ibv_device_attr`.
#[repr(C)]
#[derive(Clone, Copy)]
#[expect(missing_docs, reason = "the names are the C header's")]
pub struct IbvDeviceAttr {
    pub fw_ver: [u8; 64],
    pub node_guid: u64,
    pub sys_image_guid: u64,
    pub max_mr_size: u64,
    pub page_size_cap: u64,
    pub vendor_id: u32,
    pub vendor_part_id: u32,
    pub hw_ver: u32,
    pub max_qp: c_int,
    pub max_qp_wr: c_int,
    pub device_cap_flags: u32,
    pub max_sge: c_int,
    pub max_sge_rd: c_int,
    pub max_cq: c_int,
    pub max_cqe: c_int,
    pub max_mr: c_int,
    pub max_pd: c_int,
    pub max_qp_rd_atom: c_int,
    pub max_ee_rd_atom: c_int,
    pub max_res_rd_atom: c_int,
    pub max_qp_init_rd_atom: c_int,
    pub max_ee_init_rd_atom: c_int,
    pub atomic_cap: u32,
    pub max_ee: c_int,
    pub max_rdd: c_int,
    pub max_mw: c_int,
    pub max_raw_ipv6_qp: c_int,
    pub max_raw_ethy_qp: c_int,
    pub max_mcast_grp: c_int,
    pub max_mcast_qp_attach: c_int,
    pub max_total_mcast_qp_attach: c_int,
    pub max_ah: c_int,
    pub max_fmr: c_int,
    pub max_map_per_fmr: c_int,
    pub max_srq: c_int,
    pub max_srq_wr: c_int,
    pub max_srq_sge: c_int,
    pub max_pkeys: u16,
    pub local_ca_ack_delay: u8,
    pub phys_port_cnt: u8,
}

/// `struct ibv_port_attr`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the names are the C header's")]
pub struct IbvPortAttr {
    pub state: u32,
    pub max_mtu: u32,
    pub active_mtu: u32,
    pub gid_tbl_len: c_int,
    pub port_cap_flags: u32,
    pub max_msg_sz: u32,
    pub bad_pkey_cntr: u32,
    pub qkey_viol_cntr: u32,
    pub pkey_tbl_len: u16,
    pub lid: u16,
    pub sm_lid: u16,
    pub lmc: u8,
    pub max_vl_num: u8,
    pub sm_sl: u8,
    pub subnet_timeout: u8,
    pub init_type_reply: u8,
    pub active_width: u8,
    pub active_speed: u8,
    pub phys_state: u8,
    pub link_layer: u8,
    pub flags: u8,
    pub port_cap_flags2: u16,
}

/// `struct ibv_qp_cap`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the names are the C header's")]
pub struct IbvQpCap {
    pub max_send_wr: u32,
    pub max_recv_wr: u32,
    pub max_send_sge: u32,
    pub max_recv_sge: u32,
    pub max_inline_data: u32,
}

/// `struct ibv_qp_init_attr`.
#[repr(C)]
#[expect(missing_docs, reason = "the names are the C header's")]
pub struct IbvQpInitAttr {
    pub qp_context: *mut c_void,
    pub send_cq: *mut IbvCq,
    pub recv_cq: *mut IbvCq,
    pub srq: *mut c_void,
    pub cap: IbvQpCap,
    pub qp_type: u32,
    pub sq_sig_all: c_int,
}

/// `struct ibv_global_route`. (The C union has 8-byte alignment; both uses keep it by position.)
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the names are the C header's")]
pub struct IbvGlobalRoute {
    pub dgid: Gid,
    pub flow_label: u32,
    pub sgid_index: u8,
    pub hop_limit: u8,
    pub traffic_class: u8,
}

/// `struct ibv_ah_attr`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the names are the C header's")]
pub struct IbvAhAttr {
    pub grh: IbvGlobalRoute,
    pub dlid: u16,
    pub sl: u8,
    pub src_path_bits: u8,
    pub static_rate: u8,
    pub is_global: u8,
    pub port_num: u8,
}

/// `struct ibv_qp_attr`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the names are the C header's")]
pub struct IbvQpAttr {
    pub qp_state: u32,
    pub cur_qp_state: u32,
    pub path_mtu: u32,
    pub path_mig_state: u32,
    pub qkey: u32,
    pub rq_psn: u32,
    pub sq_psn: u32,
    pub dest_qp_num: u32,
    pub qp_access_flags: u32,
    pub cap: IbvQpCap,
    pub ah_attr: IbvAhAttr,
    pub alt_ah_attr: IbvAhAttr,
    pub pkey_index: u16,
    pub alt_pkey_index: u16,
    pub en_sqd_async_notify: u8,
    pub sq_draining: u8,
    pub max_rd_atomic: u8,
    pub max_dest_rd_atomic: u8,
    pub min_rnr_timer: u8,
    pub port_num: u8,
    pub timeout: u8,
    pub retry_cnt: u8,
    pub rnr_retry: u8,
    pub alt_port_num: u8,
    pub alt_timeout: u8,
    pub rate_limit: u32,
}

/// `struct ibv_async_event`. The element is a pointer or a port number, by type.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct IbvAsyncEvent {
    /// What it is about.
    pub element: *mut c_void,
    /// `IBV_EVENT_*`.
    pub event_type: u32,
}

/// Prefix of `struct rdma_event_channel`.
#[repr(C)]
pub struct CmEventChannel {
    /// Descriptor that becomes readable on connection events.
    pub fd: c_int,
}

/// Prefix of `struct rdma_cm_id`.
#[repr(C)]
pub struct CmId {
    /// The library's own context of the device it is bound to; null before.
    pub verbs: *mut IbvContext,
    /// Where its events go.
    pub channel: *mut CmEventChannel,
}

/// `struct rdma_conn_param`.
#[repr(C)]
#[derive(Clone, Copy)]
#[expect(missing_docs, reason = "the names are the C header's")]
pub struct CmConnParam {
    pub private_data: *const c_void,
    pub private_data_len: u8,
    pub responder_resources: u8,
    pub initiator_depth: u8,
    pub flow_control: u8,
    pub retry_count: u8,
    pub rnr_retry_count: u8,
    pub srq: u8,
    pub qp_num: u32,
}

/// Prefix of `struct rdma_cm_event`: of the parameter union only the member for connections.
#[repr(C)]
#[expect(missing_docs, reason = "the names are the C header's")]
pub struct CmEvent {
    pub id: *mut CmId,
    pub listen_id: *mut CmId,
    pub event: u32,
    pub status: c_int,
    pub conn: CmConnParam,
}

/// Constants, by the header's names.
#[expect(missing_docs, reason = "the names are the C header's")]
pub mod k {
    pub const IBV_ACCESS_LOCAL_WRITE: u32 = 1;
    pub const IBV_ACCESS_REMOTE_WRITE: u32 = 1 << 1;
    pub const IBV_ACCESS_REMOTE_READ: u32 = 1 << 2;
    pub const IBV_ACCESS_MW_BIND: u32 = 1 << 4;
    pub const IBV_MW_TYPE_2: c_int = 2;

    pub const IBV_WR_RDMA_WRITE: u32 = 0;
    pub const IBV_WR_RDMA_WRITE_WITH_IMM: u32 = 1;
    pub const IBV_WR_SEND: u32 = 2;
    pub const IBV_WR_SEND_WITH_IMM: u32 = 3;
    pub const IBV_WR_RDMA_READ: u32 = 4;
    pub const IBV_WR_BIND_MW: u32 = 8;
    pub const IBV_WR_SEND_WITH_INV: u32 = 9;

    pub const IBV_SEND_SIGNALED: u32 = 1 << 1;
    pub const IBV_SEND_INLINE: u32 = 1 << 3;

    pub const IBV_WC_RECV: u32 = 1 << 7;
    pub const IBV_WC_RECV_RDMA_WITH_IMM: u32 = (1 << 7) + 1;
    pub const IBV_WC_WITH_IMM: u32 = 1 << 1;
    pub const IBV_WC_SUCCESS: u32 = 0;
    pub const IBV_WC_WR_FLUSH_ERR: u32 = 5;

    pub const IBV_QPT_RC: u32 = 2;

    pub const IBV_QPS_INIT: u32 = 1;
    pub const IBV_QPS_RTR: u32 = 2;
    pub const IBV_QPS_RTS: u32 = 3;
    pub const IBV_QPS_ERR: u32 = 6;

    pub const IBV_QP_STATE: c_int = 1 << 0;
    pub const IBV_QP_ACCESS_FLAGS: c_int = 1 << 3;
    pub const IBV_QP_PKEY_INDEX: c_int = 1 << 4;
    pub const IBV_QP_PORT: c_int = 1 << 5;
    pub const IBV_QP_AV: c_int = 1 << 7;
    pub const IBV_QP_PATH_MTU: c_int = 1 << 8;
    pub const IBV_QP_TIMEOUT: c_int = 1 << 9;
    pub const IBV_QP_RETRY_CNT: c_int = 1 << 10;
    pub const IBV_QP_RNR_RETRY: c_int = 1 << 11;
    pub const IBV_QP_RQ_PSN: c_int = 1 << 12;
    pub const IBV_QP_MAX_QP_RD_ATOMIC: c_int = 1 << 13;
    pub const IBV_QP_MIN_RNR_TIMER: c_int = 1 << 15;
    pub const IBV_QP_SQ_PSN: c_int = 1 << 16;
    pub const IBV_QP_MAX_DEST_RD_ATOMIC: c_int = 1 << 17;
    pub const IBV_QP_DEST_QPN: c_int = 1 << 20;

    pub const IBV_PORT_ACTIVE: u32 = 4;

    pub const IBV_EVENT_CQ_ERR: u32 = 0;
    pub const IBV_EVENT_QP_FATAL: u32 = 1;
    pub const IBV_EVENT_QP_REQ_ERR: u32 = 2;
    pub const IBV_EVENT_QP_ACCESS_ERR: u32 = 3;
    pub const IBV_EVENT_DEVICE_FATAL: u32 = 8;
    pub const IBV_EVENT_PORT_ACTIVE: u32 = 9;
    pub const IBV_EVENT_PORT_ERR: u32 = 10;

    pub const RDMA_CM_EVENT_ADDR_RESOLVED: u32 = 0;
    pub const RDMA_CM_EVENT_ADDR_ERROR: u32 = 1;
    pub const RDMA_CM_EVENT_ROUTE_RESOLVED: u32 = 2;
    pub const RDMA_CM_EVENT_CONNECT_REQUEST: u32 = 4;
    pub const RDMA_CM_EVENT_CONNECT_RESPONSE: u32 = 5;
    pub const RDMA_CM_EVENT_REJECTED: u32 = 8;
    pub const RDMA_CM_EVENT_ESTABLISHED: u32 = 9;
    pub const RDMA_CM_EVENT_DISCONNECTED: u32 = 10;
    pub const RDMA_CM_EVENT_DEVICE_REMOVAL: u32 = 11;
    pub const RDMA_CM_EVENT_TIMEWAIT_EXIT: u32 = 15;
    pub const RDMA_PS_TCP: u32 = 0x0106;
    pub const RDMA_OPTION_ID: c_int = 0;
    pub const RDMA_OPTION_ID_TOS: c_int = 0;

    use std::ffi::c_int;
}
