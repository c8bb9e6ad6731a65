//! A place in which one guest after the other moves, with its memory and its lanes.

use std::sync::Arc;

use pathproof_api::Region;

use super::error::CopyError;
use super::guest_move::{GuestMove, Order};
use super::machine::Machine;
use super::round::Report;
use super::shared::Shared;
use super::story::Story;
use crate::migrate::{PAGE_BYTES, Phase};

/// A place and the guests that have moved through it.
pub struct Place {
    shared: Arc<Shared>,
    region: Arc<Region>,
    moving: Option<GuestMove>,
    last_number: u64,
    /// The guest whose pages the memory holds, until it begins to move.
    filled_for: Option<u32>,
    stories: Vec<Story>,
}

impl Place {
    /// Takes the next guest; `region` is its memory with one staging page behind it, and is to be filled with
    /// [`Place::contents`] before the first order.
    pub fn new(shared: Arc<Shared>, region: Arc<Region>) -> Place {
        let filled_for = shared.take_guest();
        Place { shared, region, moving: None, last_number: 0, filled_for, stories: vec![] }
    }

    /// What its memory must hold at first, where there is a guest for it.
    pub fn contents(&self) -> Option<super::contents::Contents> {
        self.filled_for.map(|guest| self.shared.contents(guest))
    }

    /// What is to be done now; [`Order::Over`] when no guest is left or one has failed.
    pub fn next(&mut self, machine: &mut dyn Machine) -> Order {
        loop {
            if self.moving.is_none() {
                let Some(guest) = self.filled_for.take() else { return Order::Over };
                let (shared, region) = (self.shared.clone(), self.region.clone());
                self.moving = Some(GuestMove::new(shared, region, guest, self.last_number));
            }
            let Some(moving) = &mut self.moving else { return Order::Over };
            match moving.next(machine) {
                Ok(Order::Over) => {
                    self.end(None, machine);
                    self.filled_for = self.shared.take_guest();
                    if let Some(guest) = self.filled_for {
                        let pages = self.shared.spec.memory_bytes / PAGE_BYTES;
                        self.shared.contents(guest).stamp(&self.region, 0..pages);
                    }
                }
                Ok(order) => return order,
                Err(error) => {
                    self.end(Some(error), machine);
                    return Order::Over;
                }
            }
        }
    }

    /// What was ordered is done, or has failed on a lane; the first error that tells something counts.
    pub fn reported(&mut self, reports: Vec<Result<Report, CopyError>>, machine: &mut dyn Machine) {
        let (mut done, mut errors) = (Vec::with_capacity(reports.len()), vec![]);
        for report in reports {
            match report {
                Ok(report) => done.push(report),
                Err(error) => errors.push(error),
            }
        }
        let error = CopyError::first(errors).or_else(|| {
            let moving = self.moving.as_mut()?;
            moving.reported(&done, machine).err()
        });
        if error.is_some() {
            self.end(error, machine);
        }
    }

    /// Gives the guest up that is moving here, if any; no other follows.
    pub fn give_up(&mut self, machine: &mut dyn Machine) {
        self.filled_for = None;
        self.end(Some(CopyError::GivenUp), machine);
    }

    /// Where the guest is that is moving here, if any.
    pub fn phase(&self) -> Option<Phase> {
        self.moving.as_ref().map(GuestMove::phase)
    }

    /// The guests that have moved, in order.
    pub fn stories(&self) -> &[Story] {
        &self.stories
    }

    /// The guests that have moved, in order.
    pub fn into_stories(self) -> Vec<Story> {
        self.stories
    }

    fn end(&mut self, error: Option<CopyError>, machine: &mut dyn Machine) {
        let Some(moving) = self.moving.take() else { return };
        let (story, last_number) = moving.end(error, machine);
        self.last_number = last_number;
        self.stories.push(story);
    }
}
