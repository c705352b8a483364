//! What `--help` teaches of `flag`.

use super::{VALUES, valves};

const FLAG: &str = "\
Examples:
  sluicegate flag list orders
  sluicegate flag open queue.orders.skip 70% --for 30m --reason \"INC-481\"
  sluicegate flag close queue.orders.skip --reason \"INC-481 is over\"
  sluicegate flag rule add shop.reports acme --when account=acme --value false --reason INC-482";

const FLAG_HINT: &str = "`sluicegate flag --help` lists the valves.";

/// How clauses are typed.
pub(in crate::cli) const CLAUSES: &str = "\
Clauses, for --when; all of several have to hold:
  account=acme,globex    is one of these          account!=acme     is none of these, or missing
  type^=bulk.            begins with              type$=.csv        ends with
  type*=report           contains                 'id~=^a[0-9]+$'   a regular expression finds it
  'retries<5' '<=' '>' '>='   compares numbers    ip@10.0.0.0/8     lies in one of these networks
  'plan?'  '!plan?'      is there, is missing
  segment:beta  '!segment:beta'   belongs to the segment, or does not
A comma in a value is '\\,', and what has no sign here is JSON, such as '{\"attribute\": \"version\", \"op\": \"semver_ge\", ...}'.";

pub(in crate::cli) const FLAG_LIST: &str = "\
Examples:
  sluicegate flag list
  sluicegate flag list queue.orders.
  sluicegate flag list --open
  sluicegate flag list --json";

pub(in crate::cli) const FLAG_GET: &str = "\
Examples:
  sluicegate flag get queue.orders.skip
  sluicegate flag get queue.orders.max_age --json";

pub(in crate::cli) const FLAG_CREATE: &str = "\
Examples:
  sluicegate flag create load.rate --type rate --value 50/s --reason \"load test\"
  sluicegate flag create shop.form --type string --value old --choice old --choice new -r OPS-7
  sluicegate flag create shop.reports --type boolean --value true --kind permission -r OPS-8
  sluicegate flag create shop.open --type boolean --value true --reason OPS-8 --dry-run";

pub(in crate::cli) const FLAG_SET: &str = "\
Examples:
  sluicegate flag set queue.orders.max_age 30s --reason \"useless after 30 s\" --keep
  sluicegate flag set queue.orders.rate \"100/m burst 20\" --reason contract --keep --dry-run
  sluicegate flag set queue.orders.rate none --reason \"contract ended\" --yes

A valve that sheds or stops has to have an end (`flag open`), unless you say --keep; exit code 6 otherwise.
It is refused (exit code 5) when somebody changed the flag at the same moment: look, and repeat.";

pub(in crate::cli) const FLAG_EDIT: &str = "\
Examples:
  sluicegate flag edit shop.reports
  sluicegate flag edit shop.reports --format json --reason OPS-9
  sluicegate flag edit shop.reports --file reports.toml --reason OPS-9 --dry-run
  sluicegate flag get shop.reports --json | sluicegate flag edit shop.reports --file - -r OPS-9

The editor is VISUAL, else EDITOR, else vi. The difference is shown before anything is changed. When somebody
changed the flag meanwhile (exit code 5), theirs is shown and yours is kept in a file.";

pub(in crate::cli) const FLAG_RULE: &str = "\
Examples:
  sluicegate flag rule list shop.reports
  sluicegate flag rule add shop.reports acme --when account=acme --value false --reason INC-482
  sluicegate flag rule remove shop.reports acme --reason \"INC-482 is over\"";

pub(in crate::cli) const RULE_LIST: &str = "\
Examples:
  sluicegate flag rule list shop.reports
  sluicegate flag rule list shop.reports --json";

pub(in crate::cli) const RULE_ADD: &str = "\
Examples:
  sluicegate flag rule add shop.reports acme --when account=acme --value false --reason INC-482
  sluicegate flag rule add shop.form ring-1 --when segment:beta --split 5%=new -r OPS-7 --last
  sluicegate flag rule add queue.mail.degrade off --when account=acme --value reject --keep -r x

The first is \"a 404 for that one customer\", where nginx asks GET /api/v1/authz/shop.reports before each request.
A rule for a time is an opening: `sluicegate flag open KEY VALUE --when CLAUSE --for 1h`.";

pub(in crate::cli) const RULE_REMOVE: &str = "\
Examples:
  sluicegate flag rule remove shop.reports acme --reason \"INC-482 is over\"
  sluicegate flag rule remove shop.form ring-1 -r OPS-7 --dry-run";

pub(in crate::cli) const FLAG_OPEN: &str = "\
Examples:
  sluicegate flag open queue.orders.skip 70% --for 30m --reason \"INC-481\" --yes
  sluicegate flag open queue.orders.max_age 30s queue.orders.skip 20% --reason INC-481
  sluicegate flag open queue.orders.skip 30% --when type^=bulk. --when segment:beta --for 1h
  sluicegate flag open queue.orders.skip 20% --for 1h --restore ramp:10m -r INC-481
  sluicegate flag open queue.orders.skip 20% --until \"on-time >= 98% for 10m\" -r INC-481
  sluicegate flag open queue.mail.rate 0/s --until 2026-11-21T18:00:00Z -r INC-7 --dry-run

KEY and VALUE come in pairs. `--help` lists the valves, how values are written, and the clauses.";

pub(in crate::cli) const FLAG_CLOSE: &str = "\
Examples:
  sluicegate flag close o41 --reason \"INC-481 is over\"
  sluicegate flag close queue.orders.skip --reason \"INC-481 is over\"

An opening over several flags ends on all of them.";

pub(in crate::cli) const FLAG_EXTEND: &str = "\
Examples:
  sluicegate flag extend o41 --for 30m --reason \"the burst goes on\"
  sluicegate flag extend o41 --until 2026-11-21T18:00:00Z --reason \"till the shift ends\" -n

--for 30m: half an hour longer than it would have lasted; in all at most a day from now.";

pub(in crate::cli) const FLAG_UNDO: &str = "\
Examples:
  sluicegate flag undo shop.reports --reason \"wrong flag\"
  sluicegate flag undo shop.reports --revision 41 --reason \"as before Friday\" --dry-run

It changes what stands below the openings; an opening is ended by `flag close`.";

pub(in crate::cli) const FLAG_HISTORY: &str = "\
Examples:
  sluicegate flag history queue.orders.skip
  sluicegate flag history shop.reports --limit 5 --json";

pub(in crate::cli) const FLAG_DELETE: &str = "\
Examples:
  sluicegate flag delete shop.form --reason \"everybody has the new form\"
  sluicegate flag delete shop.form --reason \"everybody has it\" --dry-run

It is refused (exit code 6) when somebody evaluated the flag within the last hour, unless you say --force.";

pub(in crate::cli) const FLAG_APPLY: &str = "\
Examples:
  sluicegate flag apply flags.toml --dry-run --reason \"see the plan\"
  sluicegate flag apply flags.toml --reason \"commit 1f2e3d\"
  sluicegate flag export --format json | sluicegate flag apply - --reason restored --yes

What the file does not name stays as it is; --prune deletes what it managed and names no more. Flags with
`managed = \"file\"` are changed in no other way.";

pub(in crate::cli) const FLAG_EXPORT: &str = "\
Examples:
  sluicegate flag export > flags.toml
  sluicegate flag export shop. --format json

Openings are not in it: they end.";

pub(in crate::cli) const FLAG_EXPLAIN: &str = "\
Examples:
  sluicegate flag explain shop.reports --context account=acme
  sluicegate flag explain queue.orders.skip -c account=acme -c type=bulk.mail --json";

pub(in crate::cli) const FLAG_PREVIEW: &str = "\
Examples:
  sluicegate flag preview queue.orders.skip 30%
  sluicegate flag preview queue.orders.skip 30% --when type^=bulk. --when segment:beta

It asks the same function that decides about messages, with the newest messages that were seen. Changes nothing.";

pub(in crate::cli) const EXPLAIN: &str = "\
Examples:
  sluicegate explain orders --context account=acme
  sluicegate explain orders -c account=acme -c type=bulk.mail -c age=45s --json
  sluicegate explain orders -c id=o-17

With an id alone, the message is looked for among those that came lately.";

pub(in crate::cli) fn flag_short() -> String {
    [FLAG, FLAG_HINT].join("\n\n")
}

pub(in crate::cli) fn flag_long() -> String {
    [FLAG, &valves(), VALUES].join("\n\n")
}

pub(in crate::cli) fn flag_set_long() -> String {
    [FLAG_SET, VALUES].join("\n\n")
}

pub(in crate::cli) fn flag_open_long() -> String {
    [FLAG_OPEN, VALUES, CLAUSES, &valves()].join("\n\n")
}

pub(in crate::cli) fn flag_rule_long() -> String {
    [FLAG_RULE, CLAUSES].join("\n\n")
}

pub(in crate::cli) fn rule_add_long() -> String {
    [RULE_ADD, CLAUSES, VALUES].join("\n\n")
}
