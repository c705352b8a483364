//! What `--help` teaches of `compat`.

pub(in crate::cli) const COMPAT: &str = "\
Examples:
  sluicegate compat flagd import flags.json > flags.toml
  sluicegate compat rollout import > flags.toml
  sluicegate flag apply flags.toml --dry-run --reason \"see the plan\"";

pub(in crate::cli) const COMPAT_FLAGD: &str = "\
Examples:
  sluicegate compat flagd import flags.json > flags.toml
  sluicegate flag export | sluicegate compat flagd export -";

pub(in crate::cli) const COMPAT_FLAGD_IMPORT: &str = "\
Examples:
  sluicegate compat flagd import flags.json > flags.toml
  sluicegate compat flagd import flags.json --format json

Exit code 1: some have no equal here. The others are printed all the same.";

pub(in crate::cli) const COMPAT_FLAGD_EXPORT: &str = "\
Examples:
  sluicegate compat flagd export flags.toml > flags.json
  sluicegate flag export | sluicegate compat flagd export -

Exit code 1: some have no equal there. The others are printed all the same.";

pub(in crate::cli) const COMPAT_ROLLOUT: &str = "\
Examples:
  sluicegate compat rollout import > flags.toml
  sluicegate compat rollout export flags.toml --dry-run";

pub(in crate::cli) const COMPAT_ROLLOUT_IMPORT: &str = "\
Examples:
  sluicegate compat rollout import > flags.toml
  sluicegate compat rollout import --redis 127.0.0.1:6379 --namespace development

The same users stay in. Make segments of the gem's groups first: a rule asks for the one of the same name.";

pub(in crate::cli) const COMPAT_ROLLOUT_EXPORT: &str = "\
Examples:
  sluicegate compat rollout export flags.toml --dry-run
  sluicegate flag export | sluicegate compat rollout export - --namespace development

Features that say so already keep their bytes; a feature that is not in the file is left alone.";
