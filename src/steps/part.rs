//! One end's part in a step. The end that ran the command plays it through the same code as the one that serves: it is made
//! ready, says what the other end must know, runs with what that one said, and leaves a half.

use pathproof_api::{Clock, Offer};
use pathproof_model::{Half, StepError};

use super::{Context, Prepared, Runner, Setup};
use crate::evidence::{About, Taken};
use crate::offers;

/// A part that is ready, and does not know the other end's offers yet.
pub struct StepPart {
    prepared: Box<dyn Prepared>,
    own: Vec<Offer>,
    about: About,
}

impl StepPart {
    /// Makes this end's part ready.
    pub fn prepare(runner: &dyn Runner, setup: &Setup<'_>) -> Result<StepPart, StepError> {
        let prepared = runner.prepare(setup)?;
        Ok(StepPart { own: prepared.offers(), prepared, about: setup.about() })
    }

    /// What the other end needs to know, one for each lane, as it crosses.
    pub fn offers(&self) -> Vec<String> {
        offers::to_texts(&self.own)
    }

    /// See [`Prepared::paths`].
    pub fn paths(&self) -> Vec<u32> {
        self.prepared.paths()
    }

    /// Takes in what the other end offers: as much as was planned, and nothing large.
    pub fn with(self, theirs: &[String]) -> Result<ReadyPart, StepError> {
        let theirs = offers::from_texts(theirs, self.own.len())?;
        Ok(ReadyPart { prepared: self.prepared, theirs, about: self.about })
    }
}

/// A part that can run.
pub struct ReadyPart {
    prepared: Box<dyn Prepared>,
    theirs: Vec<Offer>,
    about: About,
}

impl ReadyPart {
    /// Runs the part, with what this host counts beside it.
    pub fn run(self, context: &mut Context<'_>) -> Half {
        context.evidence = Some(Taken::before(&self.about, context.clock.now()));
        let mut half = self.prepared.run(context, self.theirs);
        if let Some(evidence) = context.evidence.take() {
            evidence.after(&mut half, context.clock.now());
        }
        half
    }
}
