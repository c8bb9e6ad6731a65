//! The shares of every path with their bounds, and whose the datagrams were that came with a wrong checksum: the kernel counts them for its host as a
//! whole, and hands none of them to a socket.
//!
//! Refuses to divide a count between paths: where several lost some, it is not known.

use pathproof_model::{Direction, LossPath, LossShares};

/// Puts its shares into every path over which datagrams were sent. `damaged` is what the receiving host of a direction threw away for a wrong
/// checksum meanwhile, of IPv4 (`true`) or of IPv6, where it says.
pub fn tell_shares(paths: &mut [LossPath], damaged: impl Fn(Direction, bool) -> Option<u64>) {
    let key = |path: &LossPath| (path.direction, path.local_address.is_ipv4());
    let is_counted = |path: &LossPath| path.reason.is_none() && !path.by_echo && !path.is_silent();
    let missing = |path: &LossPath| path.counted().lost().part;
    let lossy: Vec<(Direction, bool)> =
        paths.iter().filter(|path| is_counted(path) && missing(path) > 0).map(key).collect();
    for path in paths.iter_mut().filter(|path| is_counted(path)) {
        let own = key(path);
        let others = lossy.iter().filter(|one| **one == own).count();
        let corrupted = match (damaged(own.0, own.1), missing(path)) {
            (Some(0), _) | (Some(_), 0) => Ok(0),
            (Some(errors), missing) if others == 1 => Ok(errors.min(missing)),
            (Some(errors), _) => Err(format!(
                "the receiving host threw {errors} datagrams away for a wrong checksum, and {others} paths lost some: it does not say whose they were"
            )),
            (None, _) => {
                Err("the receiving host does not say how many datagrams it threw away for a wrong checksum"
                    .into())
            }
        };
        path.shares = Some(LossShares::of(path, corrupted));
    }
}

#[cfg(test)]
mod tests {
    use super::super::merge::tests::run;
    use super::*;
    use pathproof_model::Share;

    #[test]
    fn every_share_has_a_bound_and_what_was_damaged_is_the_one_paths_that_lost_some() {
        // One in fifty does not arrive.
        let mut paths = run(|at, _| (at % 50 != 7).then_some(0));
        paths.retain(|path| path.direction == Direction::Out);
        let lost = paths[0].counted().lost();
        assert!(lost.part > 3 && paths.len() == 1, "{lost:?}");
        let mut told = |damaged: Option<u64>| {
            tell_shares(&mut paths, |_, _| damaged);
            paths[0].shares.clone().unwrap()
        };
        let shares = told(Some(3));
        assert_eq!(shares.lost.counted(), lost);
        assert!(shares.lost.low > 0.0 && shares.lost.low < 0.02 && shares.lost.high > 0.02, "{shares:?}");
        assert!(shares.late.part == 0 && shares.late.high > 0.0 && shares.duplicated.high > 0.0);
        let corrupted = shares.corrupted.unwrap();
        assert_eq!(corrupted.counted(), Share { part: 3, of: lost.of - lost.part + 3 });
        // No more of them were damaged than did not arrive; and none is a share as well.
        assert_eq!(told(Some(1_000_000)).corrupted.unwrap().part, lost.part);
        let none = told(Some(0)).corrupted.unwrap();
        assert!(none.part == 0 && none.low == 0.0 && none.high > 0.0, "{none:?}");
        let unknown = told(None);
        assert!(
            unknown.corrupted.is_none()
                && unknown.corrupted_unknown.is_some_and(|why| why.contains("does not say"))
        );
    }

    #[test]
    fn what_was_damaged_of_several_lossy_paths_is_not_known_and_a_whole_path_had_none() {
        let mut paths = run(|at, _| (at % 50 != 7).then_some(0));
        paths.retain(|path| path.direction == Direction::Out);
        let whole = {
            let mut whole = run(|_, _| Some(0));
            whole.retain(|path| path.direction == Direction::Out);
            whole.remove(0)
        };
        paths.extend([paths[0].clone(), whole]);
        tell_shares(&mut paths, |_, _| Some(5));
        let corrupted: Vec<Option<u64>> =
            paths.iter().map(|path| Some(path.shares.as_ref()?.corrupted?.part)).collect();
        assert_eq!(corrupted, [None, None, Some(0)]);
        let why = paths[0].shares.as_ref().and_then(|shares| shares.corrupted_unknown.clone()).unwrap();
        assert!(why.contains("5 datagrams") && why.contains("2 paths lost some"), "{why}");
    }
}
