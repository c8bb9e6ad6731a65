//! Files that start a mesh, as sites use them (`--template`): printed, to be looked at and changed.

use clap::ValueEnum;

/// Who starts the ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Template {
    /// A batch script of Slurm.
    Slurm,
    /// A script around Open MPI's mpirun.
    Mpirun,
    /// An Indexed Job of Kubernetes and its Service.
    K8s,
    /// A playbook of Ansible.
    Ansible,
    /// A script around clush.
    Clush,
}

/// Hosts where nobody says how many.
const SIZE: u32 = 8;

impl Template {
    /// The file, for so many hosts.
    pub fn text(self, size: Option<u32>) -> String {
        let text = match self {
            Template::Slurm => include_str!("slurm.sh"),
            Template::Mpirun => include_str!("mpirun.sh"),
            Template::K8s => include_str!("k8s.yaml"),
            Template::Ansible => include_str!("ansible.yml"),
            Template::Clush => include_str!("clush.sh"),
        };
        text.replace("@SIZE@", &size.unwrap_or(SIZE).to_string())
    }
}
