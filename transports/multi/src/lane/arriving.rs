//! What comes over the paths: headers, messages and where they go.

use pathproof_api::{CompletionStatus, Op, Tick, TransportError, Wait};

use super::StripedLane;
use crate::frame::{FrameKind, Head};
use crate::incoming::Place;
use crate::path::{Reading, TAG_HEAD, TAG_READ};

impl StripedLane {
    /// Polls one path and deals with what it brings.
    pub(super) fn serve(&mut self, index: u16, wait: Wait, now: Tick) -> Result<bool, TransportError> {
        let at = usize::from(index);
        let mut inner = std::mem::take(&mut self.inner);
        inner.clear();
        let polled = self.paths[at].keep_going().and_then(|()| self.paths[at].poll(&mut inner, wait));
        let mut result = Ok(!inner.is_empty());
        for done in &inner {
            if done.status != CompletionStatus::Ok {
                self.die(index, format!("an operation ended as {:?}", done.status), None);
            } else if done.tag == TAG_HEAD {
                self.paths[at].head_sent();
            } else if done.tag == TAG_READ
                && let Err(error) = self.read(index, done.len, now)
            {
                result = Err(error);
            }
            if !self.paths[at].is_live() || result.is_err() {
                break;
            }
        }
        self.inner = inner;
        if let Err(error) = polled {
            if self.peer_left {
                // It said so before it closed; what comes after is the end of the stream.
                self.paths[at].close(false);
            } else {
                self.die(index, error.to_string(), error.how());
            }
        }
        result
    }

    /// The posted read of a path has ended.
    pub(super) fn read(&mut self, index: u16, len: u32, now: Tick) -> Result<(), TransportError> {
        let path = &mut self.paths[usize::from(index)];
        match path.read_done(len)? {
            Some(head) => self.headed(index, &head, now),
            None => {
                let Reading::Message { sequence, .. } = path.reading else { return Ok(()) };
                path.reading = Reading::Head;
                if let Some(sequence) = sequence {
                    self.incoming.complete(sequence);
                }
                self.confirm |= 1 << index;
                Ok(())
            }
        }
    }

    pub(super) fn headed(&mut self, index: u16, head: &Head, now: Tick) -> Result<(), TransportError> {
        let paths = &mut self.paths;
        self.outgoing.arrived(&head.arrived, |path, len| {
            if let Some(path) = paths.get_mut(usize::from(path)) {
                path.confirmed(len, now);
            }
        })?;
        match head.kind {
            FrameKind::Ack => Ok(()),
            FrameKind::Bye => {
                self.peer_left = true;
                Ok(())
            }
            FrameKind::Lost => {
                let known = usize::try_from(head.sequence).ok().and_then(|at| self.paths.get_mut(at));
                if let Some(path) = known.filter(|path| path.generation < head.index) {
                    let lost = head.sequence as u16;
                    if path.is_live() {
                        self.fall(lost, "the peer has lost it".into(), None, head.index);
                    } else {
                        path.generation = head.index;
                        if let Some(rejoiner) = &self.rejoiner {
                            rejoiner.begin(lost, head.index);
                        }
                    }
                }
                Ok(())
            }
            FrameKind::Send | FrameKind::Write | FrameKind::WriteImmediate => self.message(index, head),
        }
    }

    /// A message follows on this path: say where it goes.
    pub(super) fn message(&mut self, index: u16, head: &Head) -> Result<(), TransportError> {
        let protocol = |detail: String| TransportError::Protocol {
            operation: "reading a message of a stripe".into(),
            detail,
        };
        if u64::from(head.len) > self.stride || head.len > self.caps.message_bytes_max {
            return Err(protocol(format!("a message of {} bytes is longer than agreed", head.len)));
        }
        if let Some(other) = self.incoming.busy_with(head.sequence).filter(|other| *other != index) {
            self.die(other, "a message it was in the middle of came over another path".into(), None);
        }
        let place = self.incoming.admit(head, index)?;
        let path = &mut self.paths[usize::from(index)];
        let ids = path.ids();
        let (region, offset) = match place {
            Place::Receive(op) => (ids.user.get(usize::from(op.region.0)).copied(), op.offset),
            Place::Target(offset) => {
                let target = self.target.and_then(|at| Some((self.regions.get(at)?, ids.user.get(at)?)));
                let Some((region, id)) = target else {
                    return Err(protocol("a write, and no region here is open to it".into()));
                };
                region.check(offset, u64::from(head.len)).map_err(|e| protocol(e.to_string()))?;
                (Some(*id), offset)
            }
            Place::Staging(slot) => {
                self.figures.staged += 1;
                (Some(ids.staging), slot * self.stride)
            }
            Place::Nowhere => (Some(ids.staging), (self.window + u64::from(index)) * self.stride),
        };
        let Some(region) = region else {
            return Err(TransportError::invalid("a receive names a region that is not attached"));
        };
        let sequence = (place != Place::Nowhere).then_some(head.sequence);
        if head.len == 0 {
            if let Some(sequence) = sequence {
                self.incoming.complete(sequence);
            }
            self.confirm |= 1 << index;
        } else {
            path.reading = Reading::Message { sequence, region, offset, len: head.len };
        }
        Ok(())
    }

    pub(super) fn unstage(&mut self, slot: u64, op: &Op, len: u32) -> Result<(), TransportError> {
        let broken = |e: pathproof_api::RegionError| TransportError::invalid(e.to_string());
        let Some(region) = self.regions.get(usize::from(op.region.0)) else {
            return Err(TransportError::invalid("a receive names a region that is not attached"));
        };
        if len > op.len {
            return Err(TransportError::Protocol {
                operation: "reading a message of a stripe".into(),
                detail: format!("a message of {len} bytes for a receive of {} bytes", op.len),
            });
        }
        let mut done = 0;
        while done < u64::from(len) {
            let part = (u64::from(len) - done).min(self.bounce.len() as u64);
            let bytes = &mut self.bounce[..part as usize];
            self.staging.copy_out(slot * self.stride + done, bytes).map_err(broken)?;
            region.copy_in(op.offset + done, bytes).map_err(broken)?;
            done += part;
        }
        Ok(())
    }
}
