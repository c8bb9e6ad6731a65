//! What carries a channel of a session: a TCP connection, or an SMB Direct connection over RDMA. One type for both, because the channels of one session
//! may be of either kind.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use pathproof_api::{
    Access, Arrival, EndedBy, Exposed, LaneStats, Loan, LoanId, MessagePipe, PipeLimits, PrivateData, Queued,
    Region, RegionId, Role, TcpConnection, TransportError, Wait, WireSpec, Wires,
};
use pathproof_model::FileOver;
use pathproof_rdma::{Choice, Fabric, RdmaTransport, Wishes};
use pathproof_smb2::SmbError;
use pathproof_smb2::connection::Connection;
use pathproof_smb2::direct_tcp::DirectTcp;
use pathproof_smb2::share::{Goal, Session};
use pathproof_smbd::{Connection as Direct, Places, Settings, SmbdPipe};

/// A connection of a session.
pub type Link = Connection<Carrier>;

/// Port of SMB Direct over iWARP, where 445 is a TCP listener (MS-SMBD 1.9).
const IWARP_PORT: u16 = 5445;
/// Port of SMB over TCP, and of SMB Direct over RoCE and InfiniBand.
const PORT: u16 = 445;
/// Room for a message beside its data, in bytes.
const AROUND_BYTES: u64 = 4096;

/// What carries a channel.
pub enum Carrier {
    /// SMB over TCP.
    Tcp(Box<DirectTcp>),
    /// SMB Direct.
    Direct(Box<DirectPipe>),
}

/// What went in messages of SMB Direct.
#[derive(Clone, Copy, Debug, Default)]
pub struct Messages {
    /// Payload to the server.
    pub sent_bytes: u64,
    /// Payload from the server.
    pub received_bytes: u64,
    /// Messages with payload, both ways.
    pub fragments: u64,
}

/// SMB Direct, and the adapter that it goes by.
pub struct DirectPipe {
    pipe: SmbdPipe,
    adapter: Choice,
}

impl Messages {
    /// These, and those of another connection.
    pub fn plus(self, other: Messages) -> Messages {
        Messages {
            sent_bytes: self.sent_bytes + other.sent_bytes,
            received_bytes: self.received_bytes + other.received_bytes,
            fragments: self.fragments + other.fragments,
        }
    }
}

impl CarrierKind {
    /// As a document says it.
    pub fn over(self) -> FileOver {
        match self {
            CarrierKind::Tcp => FileOver::Tcp,
            CarrierKind::Direct => FileOver::Smbd,
        }
    }
}

impl Carrier {
    /// Which kind it is.
    pub fn kind(&self) -> CarrierKind {
        match self {
            Carrier::Tcp(_) => CarrierKind::Tcp,
            Carrier::Direct(_) => CarrierKind::Direct,
        }
    }

    /// Within what time a message must be whole from now on, where that is for this end to say.
    pub fn wait_for(&mut self, within: Duration) {
        if let Carrier::Tcp(tcp) = self {
            let PipeLimits { send_bytes_max, receive_bytes_max, .. } = *tcp.limits();
            tcp.allow(within, (send_bytes_max as usize, receive_bytes_max as usize));
        }
    }

    /// This end's address.
    pub fn local(&self) -> Option<IpAddr> {
        match self {
            Carrier::Tcp(tcp) => tcp.local().map(|local| local.ip()),
            Carrier::Direct(direct) => direct.adapter.local,
        }
    }

    /// This end, for people.
    pub fn local_name(&self) -> Option<String> {
        match self {
            Carrier::Tcp(tcp) => tcp.local().map(|local| local.to_string()),
            Carrier::Direct(direct) => {
                direct.adapter.local.map(|local| format!("{local} on {}", direct.adapter.device))
            }
        }
    }

    /// What went in messages of SMB Direct so far, where it is that.
    pub fn messages(&self) -> Option<Messages> {
        let Carrier::Direct(direct) = self else { return None };
        let counts = direct.pipe.connection().counts();
        Some(Messages {
            sent_bytes: counts.payload_sent_bytes,
            received_bytes: counts.payload_received_bytes,
            fragments: counts.fragments_sent + counts.fragments_received,
        })
    }

    /// What the kernel counts of it, where it is TCP and stands.
    pub fn counted(&self) -> Option<TcpConnection> {
        match self {
            Carrier::Tcp(tcp) => tcp.counted(),
            Carrier::Direct(_) => None,
        }
    }

    /// The RDMA adapter that it goes by.
    pub fn adapter(&self) -> Option<&Choice> {
        match self {
            Carrier::Tcp(_) => None,
            Carrier::Direct(direct) => Some(&direct.adapter),
        }
    }

    fn pipe(&self) -> &dyn MessagePipe {
        match self {
            Carrier::Tcp(tcp) => tcp.as_ref(),
            Carrier::Direct(direct) => &direct.pipe,
        }
    }

    fn pipe_mut(&mut self) -> &mut dyn MessagePipe {
        match self {
            Carrier::Tcp(tcp) => tcp.as_mut(),
            Carrier::Direct(direct) => &mut direct.pipe,
        }
    }
}

impl MessagePipe for Carrier {
    fn limits(&self) -> &PipeLimits {
        self.pipe().limits()
    }

    fn send(&mut self, parts: &[&[u8]], invalidate: Option<u32>) -> Result<Queued, TransportError> {
        self.pipe_mut().send(parts, invalidate)
    }

    fn poll(&mut self, message: &mut Vec<u8>, wait: Wait) -> Result<Option<Arrival>, TransportError> {
        self.pipe_mut().poll(message, wait)
    }

    fn unfinished(&self) -> Option<u64> {
        self.pipe().unfinished()
    }

    fn expose(&mut self, region: &Arc<Region>, access: Access) -> Result<Exposed, TransportError> {
        self.pipe_mut().expose(region, access)
    }

    fn withdraw(&mut self, id: RegionId) -> Result<(), TransportError> {
        self.pipe_mut().withdraw(id)
    }

    fn lend(&mut self, region: &Arc<Region>, access: Access) -> Result<Loan, TransportError> {
        self.pipe_mut().lend(region, access)
    }

    fn take_back(&mut self, id: LoanId, arrival: &Arrival) -> Result<EndedBy, TransportError> {
        self.pipe_mut().take_back(id, arrival)
    }

    fn close(self: Box<Self>) -> LaneStats {
        match *self {
            Carrier::Tcp(tcp) => tcp.close(),
            Carrier::Direct(direct) => Box::new(direct.pipe).close(),
        }
    }
}

/// Which kind of connection is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CarrierKind {
    /// TCP.
    Tcp,
    /// SMB Direct.
    Direct,
}

/// Makes connections of either kind for one session.
#[derive(Clone)]
pub struct Dialler {
    /// Whom they are made to, and as whom.
    pub goal: Goal,
    /// The RDMA devices of this host.
    pub rdma: Arc<RdmaTransport>,
    /// Memory that is opened for each request, beside messages: windows at once.
    pub windows: usize,
}

impl Dialler {
    fn dial(&self, address: SocketAddr, kind: CarrierKind) -> Result<Link, SmbError> {
        let Goal { timeout, sizes, clock, .. } = &self.goal;
        let (carrier, address) = match kind {
            CarrierKind::Tcp => {
                let tcp = DirectTcp::connect(address, *timeout, sizes.message_bytes(), clock)?;
                (Carrier::Tcp(Box::new(tcp)), address)
            }
            CarrierKind::Direct => {
                let (direct, address) = self
                    .direct(address)
                    .map_err(|(address, error)| SmbError::NoDirect { address, why: error.to_string() })?;
                (Carrier::Direct(Box::new(direct)), address)
            }
        };
        Ok(Connection::over(carrier, address, *timeout, *sizes, clock))
    }

    /// SMB Direct, to the port of the kind of device that leads there; and which that was.
    fn direct(&self, address: SocketAddr) -> Result<(DirectPipe, SocketAddr), (SocketAddr, TransportError)> {
        let wishes = Wishes { remote: Some(address.ip()), ..Wishes::default() };
        let settings = Settings {
            fragmented_bytes: (self.goal.sizes.data_bytes as u64 + AROUND_BYTES).max(1 << 20) as u32,
            ..Settings::default()
        };
        let mut wire = WireSpec {
            private_data: PrivateData::Depths,
            // A client reads nothing of a server's memory.
            reads_issued: 0,
            sends: (Places::SENDS + self.windows) as u32,
            receives: u32::from(settings.receive_credits),
            ..WireSpec::default()
        };
        let mut to = address;
        let made = (|| {
            wire.address = Some(to);
            let prepared = self.rdma.prepare_wire(&wire)?;
            let adapter = self.rdma.choice(&wishes)?;
            // Never 445 by iWARP: a TCP listener would take the greeting for a message.
            if adapter.fabric == Fabric::Iwarp && to.port() == PORT {
                to.set_port(IWARP_PORT);
            }
            let clock = Arc::new(self.goal.clock.clone());
            let patience = self.goal.timeout;
            let direct =
                Direct::start(prepared, Role::Dial, Some(to), settings, clock, patience, self.windows)?;
            Ok(DirectPipe { pipe: SmbdPipe::new(direct)?, adapter })
        })();
        made.map(|pipe| (pipe, to)).map_err(|error| (to, error))
    }

    /// Connects, logs on and attaches to the share. The session of the number `previous`, where it is not 0, ends with all that it holds open.
    pub fn connect(
        &self,
        address: SocketAddr,
        kind: CarrierKind,
        previous: u64,
    ) -> Result<(Link, Session), SmbError> {
        self.goal.connect_over(self.dial(address, kind)?, previous)
    }

    /// One more channel of a session.
    pub fn bind(
        &self,
        session: &Session,
        address: SocketAddr,
        kind: CarrierKind,
        number: u16,
    ) -> Result<Link, SmbError> {
        self.goal.bind_over(self.dial(address, kind)?, session, number)
    }
}
