//! Which rank this process is, of how many: as it was typed, or as the engine that started it says.

use anyhow::{Context, Result, bail};
use pathproof_model::mesh::RANKS_MAX;

use super::host_list;

/// What engines call the rank; the first that is set counts. An inner engine comes before the one whose allocation it uses.
const RANK: [(&str, Engine); 6] = [
    ("PATHPROOF_RANK", Engine::Hands),
    ("OMPI_COMM_WORLD_RANK", Engine::OpenMpi),
    ("PMIX_RANK", Engine::Mpi),
    ("PMI_RANK", Engine::Mpi),
    ("SLURM_PROCID", Engine::Slurm),
    ("JOB_COMPLETION_INDEX", Engine::Kubernetes),
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
const NODES_OF_STEP: &str = "SLURM_STEP_NODELIST";
/// What it calls those of the job.
const NODES_OF_JOB: &str = "SLURM_JOB_NODELIST";

/// Who started this rank, as far as that is known: it decides what people are told to do where ranks are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// `srun`.
    Slurm,
    /// Open MPI's `mpirun`.
    OpenMpi,
    /// Another MPI's `mpiexec`, or `srun --mpi`.
    Mpi,
    /// An Indexed Job of Kubernetes.
    Kubernetes,
    /// Whoever starts the same command line on a list of hosts: clush, pdsh.
    List,
    /// Whoever knows the numbers: a playbook, a script, a person.
    Hands,
}

impl Engine {
    /// What to look at where some of `size` ranks did not come.
    pub fn when_missing(self, size: u32) -> String {
        match self {
            Engine::Slurm => format!(
                "srun starts all tasks of a step at once: is the step smaller than the job (srun -N {size} --ntasks-per-node=1, and srun \
                 itself within a batch script), did srun say why a task failed, are those nodes up (sinfo -R)"
            ),
            Engine::OpenMpi => format!(
                "mpirun starts all processes at once: does its host file have {size} hosts (mpirun -n {size} --map-by ppr:1:node), and did it \
                 say why a process failed"
            ),
            Engine::Mpi => format!(
                "mpiexec starts all processes at once: does its host file have {size} hosts (mpiexec -n {size} -ppn 1), and did it say why a \
                 process failed"
            ),
            Engine::Kubernetes => format!(
                "a pod that waits for its turn never comes: parallelism and completions must both be {size}, and {size} nodes must have room \
                 (kubectl get pods -o wide, kubectl describe pod)"
            ),
            Engine::List => format!(
                "an engine that starts fewer processes at a time than there are hosts waits for ever: raise its fan-out to {size} \
                 (clush -f {size}, pdsh -f {size}), and see whether it said why a host failed"
            ),
            Engine::Hands => format!(
                "an engine that starts fewer processes at a time than there are hosts waits for ever: raise its forks or fan-out to {size} \
                 (ansible-playbook -f {size}, pdsh -f {size}), and see whether it said why a host failed"
            ),
        }
    }

    /// What to look at where two came as one rank.
    pub fn when_twice(self) -> &'static str {
        match self {
            Engine::Slurm | Engine::OpenMpi | Engine::Mpi => {
                "are two jobs at one meeting place? Start the job once, or give each a --rendezvous with a port of its own"
            }
            Engine::Kubernetes => {
                "a pod that failed was started again: backoffLimitPerIndex: 0 (or backoffLimit: 0) leaves that be"
            }
            Engine::List => {
                "two hosts find themselves at one place of --hosts: each name of the list must be of one host alone, and the job be started once"
            }
            Engine::Hands => "give every host a rank of its own, and start the job once",
        }
    }

    /// How each host gets one rank and no more.
    pub fn one_a_host(self) -> &'static str {
        match self {
            Engine::Slurm => "srun --ntasks-per-node=1",
            Engine::OpenMpi => "mpirun --map-by ppr:1:node",
            Engine::Mpi => "mpiexec -ppn 1",
            Engine::Kubernetes => {
                "a podAntiAffinity by kubernetes.io/hostname, as mesh --template k8s has it"
            }
            Engine::List | Engine::Hands => "start one process on each",
        }
    }
}

/// A rank of so many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The rank.
    pub rank: u32,
    /// Of so many.
    pub size: u32,
    /// Where rank 0 is, where the engine or a list says so.
    pub first_host: Option<String>,
    /// Who started it.
    pub engine: Engine,
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
        let set = |name: &&str| variable(name).filter(|value| !value.is_empty());
        let number = |name: &str, value: String| {
            let number = value.parse::<u32>().ok();
            number.with_context(|| format!("{name} is {value:?}, which is no number of a rank"))
        };
        let listed = typed.hosts.map(host_list).transpose()?;
        let said = RANK.iter().find_map(|(name, engine)| Some((*name, set(name)?, *engine)));
        let engine = match (&listed, typed.rank, &said) {
            (Some(_), ..) => Engine::List,
            (None, None, Some((_, _, engine))) => *engine,
            (None, ..) => Engine::Hands,
        };
        // Open MPI has Slurm start what it needs on the other nodes of its job by a step without the first.
        let lists =
            if engine == Engine::OpenMpi { &[NODES_OF_JOB][..] } else { &[NODES_OF_STEP, NODES_OF_JOB] };
        let nodes = lists.iter().find_map(set).and_then(|list| host_list(&list).ok());
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
            let size = typed.size.unwrap_or(hosts.len() as u32);
            return Place { rank, size, first_host, engine }.sound();
        }
        let rank = match (typed.rank, said) {
            (Some(rank), _) => Some(rank),
            (None, Some((name, value, _))) => Some(number(name, value)?),
            (None, None) => None,
        };
        let size = match (typed.size, SIZE.iter().find_map(|name| Some((*name, set(name)?)))) {
            (Some(size), _) => Some(size),
            (None, Some((name, value))) => Some(number(name, value)?),
            (None, None) => None,
        };
        let how = "start it under srun, mpirun or a Kubernetes Indexed Job, or give --rank and --size, or --hosts \
                   (pathproof mesh --template NAME prints a ready file)";
        let Some(rank) = rank else { bail!("nobody says which rank this is; {how}") };
        let Some(size) = size else { bail!("nobody says how many ranks there are; {how}") };
        Place { rank, size, first_host, engine }.sound()
    }

    fn sound(self) -> Result<Place> {
        let Place { rank, size, .. } = &self;
        if !(2..=RANKS_MAX as u32).contains(size) {
            bail!(
                "a mesh has 2 to {RANKS_MAX} ranks, and this one is to have {size}; start more hosts, or give --size"
            );
        }
        if rank >= size {
            bail!(
                "rank {rank} of {size}: ranks count from 0 to {}; give --rank and --size that fit",
                size - 1
            );
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
        for (engine, set) in [
            (Engine::Slurm, &[("SLURM_PROCID", "3"), ("SLURM_STEP_NUM_TASKS", "8")][..]),
            (Engine::OpenMpi, &[("OMPI_COMM_WORLD_RANK", "3"), ("OMPI_COMM_WORLD_SIZE", "8")]),
            (Engine::Mpi, &[("PMI_RANK", "3"), ("PMI_SIZE", "8"), ("SLURM_PROCID", "3")]),
        ] {
            let place = with(&Typed::default(), set).unwrap();
            assert_eq!((place.rank, place.size, place.engine), (3, 8, engine), "{set:?}");
        }
        let job = Typed { size: Some(8), ..Typed::default() };
        assert_eq!(with(&job, &[("JOB_COMPLETION_INDEX", "3")]).unwrap().rank, 3);
        let nodes = [("SLURM_PROCID", "0"), ("SLURM_NTASKS", "2"), ("SLURM_STEP_NODELIST", "scl[1-2]")];
        assert_eq!(with(&Typed::default(), &nodes).unwrap().first_host.as_deref(), Some("scl1"));
    }

    /// As Slurm 22.05 and Open MPI 4.1 set them on the third of four nodes: mpirun is on the first and has a step for the other three.
    #[test]
    fn mpirun_within_a_job_of_slurm_counts_and_meets_at_the_first_node_of_the_job() {
        let set = [
            ("SLURM_PROCID", "1"),
            ("SLURM_NTASKS", "3"),
            ("SLURM_STEP_NUM_TASKS", "3"),
            ("SLURM_STEP_NODELIST", "node[2-4]"),
            ("SLURM_JOB_NODELIST", "node[1-4]"),
            ("OMPI_COMM_WORLD_RANK", "2"),
            ("OMPI_COMM_WORLD_SIZE", "4"),
        ];
        let place = with(&Typed::default(), &set).unwrap();
        let first_host = Some("node1".to_owned());
        assert_eq!(place, Place { rank: 2, size: 4, first_host, engine: Engine::OpenMpi });
    }

    #[test]
    fn advice_is_of_the_engine_that_started_the_ranks() {
        for (engine, missing, twice, once) in [
            (Engine::Slurm, "srun -N 8", "--rendezvous", "--ntasks-per-node=1"),
            (Engine::OpenMpi, "mpirun -n 8", "--rendezvous", "ppr:1:node"),
            (Engine::Mpi, "mpiexec -n 8", "--rendezvous", "-ppn 1"),
            (Engine::Kubernetes, "parallelism", "backoffLimitPerIndex", "podAntiAffinity"),
            (Engine::List, "clush -f 8", "--hosts", "one process"),
            (Engine::Hands, "ansible-playbook -f 8", "a rank of its own", "one process"),
        ] {
            let told = (engine.when_missing(8), engine.when_twice(), engine.one_a_host());
            assert!(told.0.contains(missing) && told.1.contains(twice) && told.2.contains(once), "{told:?}");
        }
        let own = ["node2".to_owned()];
        let listed = Typed { hosts: Some("node[1-2]"), own: &own, ..Typed::default() };
        assert_eq!(with(&listed, &[("SLURM_PROCID", "0")]).unwrap().engine, Engine::List);
        let typed = Typed { rank: Some(0), size: Some(2), ..Typed::default() };
        assert_eq!(with(&typed, &[("SLURM_PROCID", "0")]).unwrap().engine, Engine::Hands);
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
