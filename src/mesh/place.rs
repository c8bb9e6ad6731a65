//! Which rank this process is, of how many: as it was typed, or as the engine that started it says.

use anyhow::{Context, Result, bail};
use pathproof_model::mesh::RANKS_MAX;

use super::host_list;

/// What engines call the rank; the first that is set counts.
const RANK: [&str; 6] = [
    "PATHPROOF_RANK",
    "OMPI_COMM_WORLD_RANK",
    "PMIX_RANK",
    "PMI_RANK",
    "SLURM_PROCID",
    "JOB_COMPLETION_INDEX",
];
/// What they call the number of ranks. A Kubernetes Job does not say it.
const SIZE: [&str; 6] = [
    "PATHPROOF_SIZE",
    "OMPI_COMM_WORLD_SIZE",
    "PMI_SIZE",
    "SLURM_STEP_NUM_TASKS",
    "SLURM_NTASKS",
    "SLURM_NPROCS",
];
/// What Slurm calls the list of nodes of the step.
const NODES: [&str; 2] = ["SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST"];

/// A rank of so many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The rank.
    pub rank: u32,
    /// Of so many.
    pub size: u32,
    /// Where rank 0 is, where the engine or a list says so.
    pub first_host: Option<String>,
}

/// What was typed.
#[derive(Clone, Debug, Default)]
pub struct Typed<'a> {
    /// `--rank`.
    pub rank: Option<u32>,
    /// `--size`.
    pub size: Option<u32>,
    /// `--hosts`.
    pub hosts: Option<&'a str>,
    /// Names and addresses of this host, to find it in the list.
    pub own: &'a [String],
}

impl Place {
    /// From what was typed, and the variables of the engine.
    pub fn find(typed: &Typed<'_>, variable: impl Fn(&str) -> Option<String>) -> Result<Place> {
        let set = |names: &[&str]| -> Result<Option<u32>> {
            let found = names.iter().find_map(|name| Some((name, variable(name).filter(|v| !v.is_empty())?)));
            let Some((name, value)) = found else { return Ok(None) };
            let number = value.parse().ok();
            number.map(Some).with_context(|| format!("{name} is {value:?}, which is no number of a rank"))
        };
        let listed = typed.hosts.map(host_list).transpose()?;
        let nodes = NODES.iter().find_map(|name| variable(name)).and_then(|list| host_list(&list).ok());
        let first_host = listed.as_ref().or(nodes.as_ref()).and_then(|hosts| hosts.first().cloned());
        if let Some(hosts) = &listed {
            let short = |name: &str| name.split('.').next().unwrap_or(name).to_owned();
            let is_here = |host: &String| {
                typed.own.iter().any(|own| {
                    own == host || (host.parse::<std::net::IpAddr>().is_err() && short(own) == short(host))
                })
            };
            let rank = match typed.rank {
                Some(rank) => rank,
                None => hosts.iter().position(is_here).with_context(|| {
                    format!(
                        "none of the {} hosts of --hosts is this one (it is called {}); name it as it calls itself, or give --rank",
                        hosts.len(),
                        typed.own.first().map_or("?", String::as_str)
                    )
                })? as u32,
            };
            return Place { rank, size: typed.size.unwrap_or(hosts.len() as u32), first_host }.sound();
        }
        let rank = match typed.rank {
            Some(rank) => Some(rank),
            None => set(&RANK)?,
        };
        let size = match typed.size {
            Some(size) => Some(size),
            None => set(&SIZE)?,
        };
        let how = "start it under srun, mpirun or a Kubernetes Indexed Job, or give --rank and --size, or --hosts \
                   (pathproof mesh --template NAME prints a ready file)";
        let Some(rank) = rank else { bail!("nobody says which rank this is; {how}") };
        let Some(size) = size else { bail!("nobody says how many ranks there are; {how}") };
        Place { rank, size, first_host }.sound()
    }

    fn sound(self) -> Result<Place> {
        let Place { rank, size, .. } = &self;
        if !(2..=RANKS_MAX as u32).contains(size) {
            bail!("a mesh has 2 to {RANKS_MAX} ranks, and this one is to have {size}");
        }
        if rank >= size {
            bail!("rank {rank} of {size}: ranks count from 0 to {}", size - 1);
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(typed: &Typed<'_>, set: &[(&str, &str)]) -> Result<Place> {
        let set: Vec<(String, String)> = set.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect();
        Place::find(typed, |name| set.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()))
    }

    #[test]
    fn every_engine_is_understood() {
        for set in [
            &[("SLURM_PROCID", "3"), ("SLURM_STEP_NUM_TASKS", "8")][..],
            &[("OMPI_COMM_WORLD_RANK", "3"), ("OMPI_COMM_WORLD_SIZE", "8")],
            &[("PMI_RANK", "3"), ("PMI_SIZE", "8")],
            // mpirun within an allocation of Slurm: the inner engine counts.
            &[
                ("SLURM_PROCID", "0"),
                ("SLURM_NTASKS", "1"),
                ("OMPI_COMM_WORLD_RANK", "3"),
                ("OMPI_COMM_WORLD_SIZE", "8"),
            ],
        ] {
            let place = with(&Typed::default(), set).unwrap();
            assert_eq!((place.rank, place.size), (3, 8), "{set:?}");
        }
        let job = Typed { size: Some(8), ..Typed::default() };
        assert_eq!(with(&job, &[("JOB_COMPLETION_INDEX", "3")]).unwrap().rank, 3);
        let nodes = [("SLURM_PROCID", "0"), ("SLURM_NTASKS", "2"), ("SLURM_STEP_NODELIST", "scl[1-2]")];
        assert_eq!(with(&Typed::default(), &nodes).unwrap().first_host.as_deref(), Some("scl1"));
    }

    #[test]
    fn a_host_finds_itself_in_a_list() {
        let own = ["node2.example".to_owned(), "10.0.0.2".to_owned()];
        let of = |hosts| with(&Typed { hosts: Some(hosts), own: &own, ..Typed::default() }, &[]);
        let place = of("node[1-4]").unwrap();
        assert_eq!((place.rank, place.size, place.first_host.as_deref()), (1, 4, Some("node1")));
        assert_eq!(of("10.0.0.1,10.0.0.2").unwrap().rank, 1);
        let lost = of("other1,other2").unwrap_err().to_string();
        assert!(lost.contains("node2.example") && lost.contains("--rank"), "{lost}");
    }

    #[test]
    fn what_makes_no_rank_is_refused_with_what_to_do() {
        let none = with(&Typed::default(), &[]).unwrap_err().to_string();
        assert!(none.contains("--rank and --size") && none.contains("srun"), "{none}");
        let typed = |rank, size| Typed { rank: Some(rank), size: Some(size), ..Typed::default() };
        for (rank, size) in [(8, 8), (0, 1), (0, 0), (0, 100_000)] {
            assert!(with(&typed(rank, size), &[]).is_err(), "{rank} of {size}");
        }
        assert!(
            with(&Typed::default(), &[("SLURM_PROCID", "x")])
                .unwrap_err()
                .to_string()
                .contains("SLURM_PROCID")
        );
        // What was typed counts before what the engine says.
        let place = with(&typed(1, 2), &[("SLURM_PROCID", "7"), ("SLURM_NTASKS", "8")]).unwrap();
        assert_eq!((place.rank, place.size), (1, 2));
    }
}
