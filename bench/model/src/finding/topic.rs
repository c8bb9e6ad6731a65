//! What findings are about, where somebody asks for that and not for one code.

use super::Finding;

/// A subject of which several codes tell. A code begins with its subject, and so does one that only a later build knows: it is read from
/// the code, here and nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Which sizes pass.
    Mtu,
    /// Datagrams that are lost at a pace that loads nothing.
    Loss,
    /// Classes that share a path.
    Contention,
}

impl Topic {
    const fn beginning(self) -> &'static str {
        match self {
            Topic::Mtu => "MTU-",
            Topic::Loss => "PATH-LOSS",
            Topic::Contention => "CONTEND-",
        }
    }
}

impl Finding {
    /// Whether its code is one of those about `topic`.
    pub fn is_about(&self, topic: Topic) -> bool {
        self.code.starts_with(topic.beginning())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::CATALOGUE;

    #[test]
    fn every_topic_has_its_codes() {
        for topic in [Topic::Mtu, Topic::Loss, Topic::Contention] {
            let about = |code: &&'static str| Finding::new(code, "").is_about(topic);
            let codes: Vec<&'static str> = CATALOGUE.iter().map(|entry| entry.code).filter(about).collect();
            assert!(codes.len() >= 2, "{topic:?}: {codes:?}");
        }
        assert!(!Finding::new("PATH-QUEUE", "").is_about(Topic::Loss));
    }
}
