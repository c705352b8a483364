//! What `--help` teaches of `segment`, `changes` and `store`.

use super::flag::CLAUSES;

pub(in crate::cli) const SEGMENT: &str = "\
Examples:
  sluicegate segment list
  sluicegate segment create beta acme globex --reason \"first of the beta\"
  sluicegate segment add beta initech --reason \"asked for it\"

Rules and openings name a segment by --when segment:beta.";

pub(in crate::cli) const SEGMENT_LIST: &str = "\
Examples:
  sluicegate segment list
  sluicegate segment list --json";

pub(in crate::cli) const SEGMENT_GET: &str = "\
Examples:
  sluicegate segment get beta
  sluicegate segment get beta --json";

pub(in crate::cli) const SEGMENT_CREATE: &str = "\
Examples:
  sluicegate segment create beta acme globex --reason \"first of the beta\"
  sluicegate segment create beta --file accounts.txt --owner team-shop --reason OPS-7
  sluicegate segment create bulk --when type^=bulk. --reason OPS-7 --dry-run";

pub(in crate::cli) const SEGMENT_ADD: &str = "\
Examples:
  sluicegate segment add beta initech umbrella --reason \"asked for it\"
  sluicegate segment add beta --file - --reason OPS-7 --dry-run";

pub(in crate::cli) const SEGMENT_REMOVE: &str = "\
Examples:
  sluicegate segment remove beta initech --reason \"asked for it\"
  sluicegate segment remove beta --file gone.txt --reason OPS-7";

pub(in crate::cli) const SEGMENT_DELETE: &str = "\
Examples:
  sluicegate segment delete beta --reason \"the beta is over\"
  sluicegate segment delete beta --reason \"the beta is over\" --dry-run";

pub(in crate::cli) const CHANGES: &str = "\
Examples:
  sluicegate changes
  sluicegate changes --flag queue.orders.skip --limit 10
  sluicegate changes --jsonl > changes.jsonl
  sluicegate changes verify";

pub(in crate::cli) const CHANGES_VERIFY: &str = "\
Examples:
  sluicegate changes verify
  sluicegate changes verify --file changes.jsonl
  sluicegate changes verify --data-dir /var/lib/sluicegate

Exit code 1: the chain is broken; the first broken place is named. Keep the last hash elsewhere: who can write
the whole store could write a whole new chain.";

pub(in crate::cli) const STORE: &str = "\
Examples:
  sluicegate store snapshots --data-dir /var/lib/sluicegate
  sluicegate store restore 4711 --reason \"INC-490\"
  sluicegate store export > store.json

The daemon of that directory must not run.";

pub(in crate::cli) const STORE_SNAPSHOTS: &str = "\
Examples:
  sluicegate store snapshots
  sluicegate store snapshots --data-dir /var/lib/sluicegate --json";

pub(in crate::cli) const STORE_RESTORE: &str = "\
Examples:
  sluicegate store restore 4711 --reason \"INC-490\" --dry-run
  sluicegate store restore 4711 --reason \"INC-490\" --data-dir /var/lib/sluicegate

Stop the daemon first. One flag is brought back by `flag undo` while the daemon runs.";

pub(in crate::cli) const STORE_EXPORT: &str = "\
Examples:
  sluicegate store export > store.json
  sluicegate store export --format toml --data-dir /var/lib/sluicegate > flags.toml

Of a damaged store, and of one that a later version wrote, the newest good snapshot is printed.";

pub(in crate::cli) fn segment_create_long() -> String {
    [SEGMENT_CREATE, CLAUSES].join("\n\n")
}
