#!/usr/bin/env python3
"""What is on the boards. Run it after a change, and commit what it writes; with `--check` it only compares."""

import pathlib
import sys

from draw import BLUE, GREEN, ORANGE, RED, board, graph, number, row, states, table, variable, written

HERE = pathlib.Path(__file__).parent
QUANTILES = ((0.5, "half within"), (0.95, "95 of 100 within"), (0.99, "99 of 100 within"))


def quantiles(family, by=""):
    """Three quantiles of a histogram."""
    labels = f"le, {by}" if by else "le"
    name = f" {{{{{by}}}}}" if by else ""
    return [(f"histogram_quantile({q}, sum by ({labels}) (rate({family}_bucket[R])))", words + name) for q, words in QUANTILES]


def on_time(by=""):
    done = f"sum{by} (rate(sluicegate_completed_total{{on_time=~%s}}[R]))"
    return done % '"true"' + " / " + done % '"true|false"'


def each(by, family, verb="rate", own=""):
    return f"sum by ({by}) ({verb}({family}{own}[R]))"


def overview():
    return board("overview", "Sluicegate / Overview", "Is it fine? What is degraded, by whom, until when?", [
        number("Ready", "Messages that wait at the broker, in all queues. There is no right threshold: what matters is their age.",
               "sum(sluicegate_queue_ready_messages)", "short", [(None, GREEN), (10_000, ORANGE), (100_000, RED)]),
        number("Taken", "Deliveries taken from all queues; a message that waited in a lane is taken again.",
               "sum(rate(sluicegate_messages_received_total[R]))", "cps", [(None, BLUE), (0.01, GREEN)]),
        number("Done", "Jobs that their worker did, or that were handed over to an admitted queue.",
               'sum(rate(sluicegate_messages_settled_total{reason=~"done|handed_over"}[R]))', "cps", [(None, BLUE), (0.01, GREEN)]),
        number("Shed", "Messages that are not worked, by valves or because they cannot be read. Blue: work is being left out on purpose.",
               'sum(rate(sluicegate_messages_settled_total{verdict="shed"}[R]))', "cps", [(None, GREEN), (0.01, BLUE)]),
        number("Done on time", "The share of jobs with a deadline that were done before it.",
               on_time(), "percentunit", [(None, RED), (0.9, ORANGE), (0.98, GREEN)]),
        number("Oldest", "Age of the oldest message in hand; with [management] also of the heads of the queues.",
               "max(sluicegate_queue_oldest_age_seconds)", "s", [(None, GREEN), (30, ORANGE), (300, RED)]),
        number("In hand", "Deliveries taken and not yet settled.", "sum(sluicegate_messages_in_hand)", "short", [(None, GREEN)]),
        number("Broker", "Whether every queue has its link to the broker.", "min(sluicegate_broker_connected)", "none",
               [(None, RED), (1, GREEN)], {"0": "lost", "1": "connected"}),
        number("Flags with an opening", "Flags over which a temporary value lies; it ends by itself.",
               "sum(sluicegate_opening_ends_timestamp_seconds > bool 0)", "short", [(None, GREEN), (1, BLUE)]),
        number("Providers not passing", "Providers that rest or are probed: their pools stand on the others.",
               'sum(sluicegate_provider_state{state=~"resting|probing"}) or vector(0)', "short", [(None, GREEN), (1, ORANGE)]),
        number("Rollouts to look at", "Rollouts that are held, or were cancelled and wait for a person.",
               'sum(sluicegate_rollout_state{state=~"held|cancelled|frozen"}) or vector(0)', "short", [(None, GREEN), (1, RED)]),
        number("Store", "Whether the store took what was last written to it; if not, changes are refused.",
               "min(sluicegate_store_writable)", "none", [(None, RED), (1, GREEN)], {"0": "refuses", "1": "writes"}),
        row("Queues"),
        graph("Ready messages", "Messages that wait at the broker. A rise is a sign, their age is the harm.",
              ("sum by (queue) (sluicegate_queue_ready_messages)", "{{queue}}"), to_queue=True),
        graph("Age of the oldest", "How old the oldest message in hand is. A line that climbs by a second each second: nothing is done.",
              ("max by (queue) (sluicegate_queue_oldest_age_seconds)", "{{queue}}"), unit="s",
              bands=[(None, "transparent"), (30, "rgba(255,152,48,0.15)"), (300, "rgba(196,22,42,0.15)")], to_queue=True),
        graph("Offered and what can be done", "Jobs offered per second beside what the slots can do. Offered above capacity for long: relieve the queue.",
              ("sum by (queue) (sluicegate_relief_offered_per_second)", "{{queue}} offered"),
              ("sum by (queue) (sluicegate_relief_capacity_per_second)", "{{queue}} can be done"), unit="cps", to_queue=True),
        graph("Done on time", "The share of jobs with a deadline that were done before it, by queue.",
              (on_time(" by (queue)"), "{{queue}}"), unit="percentunit", largest=1,
              bands=[(None, "rgba(196,22,42,0.15)"), (0.9, "rgba(255,152,48,0.15)"), (0.98, "transparent")], to_queue=True),
        row("What happens to messages"),
        graph("Verdicts", "Every settled delivery, by what was decided: run, shed, wait (for a lane or a delay), back (to the queue).",
              (each("verdict", "sluicegate_messages_settled_total"), "{{verdict}}"), unit="cps", stacked=True),
        graph("Shed, by reason", "What is left out: expired by max_age, skipped by skip, rejected by degrade, blocked by order, malformed.",
              (each("reason", "sluicegate_messages_settled_total", own='{verdict="shed"}'), "{{reason}}"), unit="cps", stacked=True),
        graph("Run, by outcome", "What came of messages that went to their worker.",
              (each("reason", "sluicegate_messages_settled_total", own='{verdict="run"}'), "{{reason}}"), unit="cps", stacked=True),
        graph("Time at the worker", "How long targets took, over all queues.", *quantiles("sluicegate_processing_seconds"), unit="s"),
        row("The daemon itself"),
        graph("Account", "Received less settled less in hand: anything but 0 is a fault of ours, worth a report.",
              ("sum without (verdict, reason) (sluicegate_messages_received_total) - sum without (verdict, reason) (sluicegate_messages_settled_total) - sluicegate_messages_in_hand",
               "{{queue}}"), bands=[(None, "transparent"), (1, "rgba(196,22,42,0.15)")], width=8),
        graph("Links that came up again", "How often the link of a queue to the broker was lost and came back.",
              (each("queue", "sluicegate_broker_reconnects_total", "increase"), "{{queue}}"), width=8),
        graph("Requests denied", "Requests of somebody who was not let in, or asked for more than they may.",
              (each("reason", "sluicegate_denied_total"), "{{reason}}"), unit="reqps", width=8),
        graph("Memory", "What the program holds in memory.", ("process_resident_memory_bytes", "{{instance}}"), unit="bytes", width=8),
        graph("Processor", "How many cores the program keeps busy.", ("rate(process_cpu_seconds_total[R])", "{{instance}}"), width=8),
        table("Versions", "What runs, and where.", "sum by (instance, version) (sluicegate_build_info)", "short", "running", width=8),
    ])


def queue():
    named = 'queue=~"$queue"'
    valve = 'flag=~"queue[.]$queue[.].+"'
    narrowed = {"sluicegate_": named, "sluicegate_flag_": valve, "sluicegate_opening_": valve}
    return board("queue", "Sluicegate / Queue", "One queue: its load, what is shed and why, its valves.", [
        number("Ready", "Messages that wait at the broker.", "sum(sluicegate_queue_ready_messages)", "short",
               [(None, GREEN), (10_000, ORANGE), (100_000, RED)]),
        number("Oldest", "Age of the oldest message in hand; with [management] also of the queue's head.",
               "max(sluicegate_queue_oldest_age_seconds)", "s", [(None, GREEN), (30, ORANGE), (300, RED)]),
        number("Done on time", "The share of jobs with a deadline that were done before it.", on_time(), "percentunit",
               [(None, RED), (0.9, ORANGE), (0.98, GREEN)]),
        number("Offered", "Jobs offered per second, also those that are shed.", "sum(sluicegate_relief_offered_per_second)", "cps", [(None, GREEN)]),
        number("Can be done", "Jobs per second that all slots can do; 0: not known yet.", "sum(sluicegate_relief_capacity_per_second)", "cps", [(None, GREEN)]),
        number("Slots wanted", "Slots that it takes to do all that is offered.", "sum(sluicegate_relief_workers_wanted)", "short", [(None, GREEN)]),
        row("Load"),
        graph("Offered and what can be done", "Where the first is above the second for long, jobs come too late: relieve the queue, or add workers.",
              ("sum(sluicegate_relief_offered_per_second)", "offered"), ("sum(sluicegate_relief_capacity_per_second)", "can be done"),
              ('sum(rate(sluicegate_messages_settled_total{reason=~"done|handed_over"}[R]))', "done"), unit="cps"),
        graph("Ready and in hand", "What waits at the broker, and what this daemon holds.",
              ("sum(sluicegate_queue_ready_messages)", "ready"), ("sum(sluicegate_messages_in_hand)", "in hand")),
        graph("Age at pick-up", "How old messages are when they are taken.", *quantiles("sluicegate_message_age_seconds"), unit="s"),
        graph("On time and late", "Jobs done, by whether that was before their deadline.",
              ('sum(rate(sluicegate_completed_total{on_time="true"}[R]))', "on time"),
              ('sum(rate(sluicegate_completed_total{on_time="false"}[R]))', "late"), unit="cps", stacked=True),
        row("What happens to messages"),
        graph("Verdicts", "Every settled delivery, by what was decided.",
              (each("verdict", "sluicegate_messages_settled_total"), "{{verdict}}"), unit="cps", stacked=True),
        graph("Shed and waiting, by reason", "Which valve leaves messages out, or makes them wait.",
              (each("reason", "sluicegate_messages_settled_total", own='{verdict=~"shed|wait"}'), "{{reason}}"), unit="cps", stacked=True),
        graph("Run and back, by reason", "What came of messages that went to the worker, and what was given back.",
              (each("reason", "sluicegate_messages_settled_total", own='{verdict=~"run|back"}'), "{{reason}}"), unit="cps", stacked=True),
        graph("Time at the worker, by outcome", "95 of 100 answers came within this time.",
              ("histogram_quantile(0.95, sum by (le, outcome) (rate(sluicegate_processing_seconds_bucket[R])))", "{{outcome}}"), unit="s"),
        graph("Service time", "How long jobs took that were done, here or by workers behind an admitted queue.",
              *quantiles("sluicegate_service_seconds"), unit="s"),
        graph("Held by a throttle", "How long messages were held by a rate or concurrency limit, within the prefetch.",
              *quantiles("sluicegate_throttle_wait_seconds"), unit="s"),
        row("Relief"),
        graph("Shed by the automatic valve", "Why skip_mode = auto sheds; with observe, what it would shed.",
              (each("grounds", "sluicegate_relief_shed_total"), "{{grounds}}"),
              (each("grounds", "sluicegate_relief_would_shed_total"), "would: {{grounds}}"), unit="cps"),
        graph("Share to shed", "What has to be shed as things stand, beside what is shed.",
              ("max(sluicegate_relief_expected_ratio)", "has to be"),
              ('sum(rate(sluicegate_messages_settled_total{verdict="shed"}[R])) / sum(rate(sluicegate_messages_settled_total[R]))', "is"),
              unit="percentunit", largest=1),
        graph("Worth starting up to this age", "The age up to which a job can still be done on time, and what a job needs at least.",
              ("max(sluicegate_relief_limit_seconds)", "age limit"), ("max(sluicegate_relief_need_seconds)", "needed"), unit="s"),
        graph("Foresight", "The factor on that age; below 1 more came late than was foreseen.", ("max(sluicegate_relief_gamma_ratio)", "factor"),
              unit="percentunit", width=6),
        graph("Keys to blame", "Keys that bring more than three times their fair share, or fail unlike others; `sluicegate queue list` names them.",
              ("sum(sluicegate_relief_bad_actors)", "keys"), width=6),
        row("Lanes, order, onward"),
        graph("Lanes", "Queues of throttled keys, and what waits in them.", ("sum(sluicegate_lanes)", "lanes"),
              ("sum(sluicegate_lane_messages)", "messages in them"), width=8),
        graph("Blocked keys", "Keys of an ordered queue that wait for their release after a failure.", ("sum(sluicegate_blocked_keys)", "keys"), width=8),
        graph("No room", "Messages for which the target had no room, and tries to park, defer or dead-letter that did not surely succeed.",
              ("sum(rate(sluicegate_target_full_total[R]))", "target full"), ("sum(rate(sluicegate_publish_failures_total[R]))", "not put away"), unit="cps", width=8),
        graph("What messages do not tell", "Messages without an id or an age, or with a time that cannot be: valves that need it let them pass.",
              ("sum(rate(sluicegate_message_age_unknown_total[R]))", "no age"), ("sum(rate(sluicegate_message_id_from_body_total[R]))", "no id"),
              ("sum(rate(sluicegate_message_not_before_unread_total[R]))", "no time to begin"), unit="cps", width=8),
        graph("Reported outcomes", "What workers report of jobs that were handed over, and reports that do not count.",
              (each("outcome", "sluicegate_outcomes_reported_total"), "{{outcome}}"),
              (each("reason", "sluicegate_outcomes_not_counted_total"), "not counted: {{reason}}"), unit="cps", width=8),
        graph("Link to the broker", "1: connected; 0: lost.", ("min(sluicegate_broker_connected)", "connected"), largest=1, width=8),
        row("Valves"),
        table("What the valves say", "Numbers and booleans; durations in seconds, rates per second. A valve without a limit is not listed.",
              "sum by (flag) (sluicegate_flag_value)", "short", "says"),
        table("Openings", "Temporary values, and when they end.", "max by (flag) (sluicegate_opening_ends_timestamp_seconds) * 1000 > 0",
              "dateTimeFromNow", "ends"),
    ], [variable("queue", "Queue", 'label_values(sluicegate_messages_in_hand{job=~"$job", instance=~"$instance"}, queue)', many=False)], narrowed)


def providers():
    narrowed = {"sluicegate_pool_": 'pool=~"$pool"', "sluicegate_provider_": 'pool=~"$pool", provider=~"$provider"',
                "sluicegate_provider_failovers_": 'pool=~"$pool"'}
    calls = "sum by (%s) (rate(sluicegate_provider_requests_total%s[R]))"
    share = "%s / %s"
    return board("providers", "Sluicegate / Providers", "Pools of providers: who carries the load, who rests, who stands in.", [
        number("Passing", "Providers that take all that is meant for them.", 'sum(sluicegate_provider_state{state="passing"})', "short",
               [(None, RED), (1, GREEN)]),
        number("Probing", "Providers that are tried again with real jobs.", 'sum(sluicegate_provider_state{state="probing"})', "short",
               [(None, GREEN), (1, BLUE)]),
        number("Resting", "Providers that get nothing, because they failed or somebody said so.",
               'sum(sluicegate_provider_state{state="resting"})', "short", [(None, GREEN), (1, RED)]),
        number("Pools on backup", "Pools whose first provider does not carry all that is meant for it.", "sum(sluicegate_pool_on_backup)", "short",
               [(None, GREEN), (1, BLUE)]),
        number("Pools with none", "Pools of which no provider passes: their messages are held.",
               'sum((sum by (job, instance, pool) (sluicegate_provider_state{state="passing"})) == bool 0)', "short", [(None, GREEN), (1, RED)]),
        number("Failed over", "Jobs that one provider did not take and another was given.",
               "sum(rate(sluicegate_provider_failovers_total[R]))", "cps", [(None, GREEN), (0.01, BLUE)]),
        states("State", "Passing, probing or resting, over time. `sluicegate provider list` says why.",
               'sum by (pool, provider) (sluicegate_provider_state{state="probing"}) + 2 * sum by (pool, provider) (sluicegate_provider_state{state="resting"})',
               "{{pool}} {{provider}}", {"0": ("passing", GREEN), "1": ("probing", BLUE), "2": ("resting", RED)}),
        graph("Jobs by provider", "Jobs given to each provider.", (calls % ("pool, provider", ""), "{{pool}} {{provider}}"), unit="cps", stacked=True),
        graph("What came of them", "recipient: a bad address, says nothing of the provider; sender: this From is not allowed there; provider: its fault; ours: our key or account.",
              (calls % ("outcome", ""), "{{outcome}}"), unit="cps", stacked=True),
        graph("Share of its own failures", "Answers that count against the provider: its faults, our credentials there, and what may have been done.",
              (share % (calls % ("pool, provider", '{outcome=~"provider|ours|unknown"}'), calls % ("pool, provider", "")), "{{pool}} {{provider}}"),
              unit="percentunit", largest=1, bands=[(None, "transparent"), (0.05, "rgba(255,152,48,0.15)"), (0.25, "rgba(196,22,42,0.15)")]),
        graph("Throttled", "Answers that asked for less, or for later.", (calls % ("pool, provider", '{outcome=~"throttled|later"}'), "{{pool}} {{provider}}"), unit="cps"),
        graph("Half of the answers within", "How long half of the answers took at most.",
              ("histogram_quantile(0.5, sum by (le, pool, provider) (rate(sluicegate_provider_request_seconds_bucket[R])))", "{{pool}} {{provider}}"), unit="s"),
        graph("99 of 100 answers within", "How long nearly all answers took at most.",
              ("histogram_quantile(0.99, sum by (le, pool, provider) (rate(sluicegate_provider_request_seconds_bucket[R])))", "{{pool}} {{provider}}"), unit="s"),
        graph("Failed over, from and to", "Jobs that went from one provider to the next within an attempt.",
              ("sum by (pool, from, to) (rate(sluicegate_provider_failovers_total[R]))", "{{pool}} {{from}} to {{to}}"), unit="cps"),
        graph("On backup", "1: the first provider of the pool does not carry all that is meant for it.",
              ("max by (pool) (sluicegate_pool_on_backup)", "{{pool}}"), largest=1),
    ], [
        variable("pool", "Pool", 'label_values(sluicegate_provider_state{job=~"$job", instance=~"$instance"}, pool)'),
        variable("provider", "Provider", 'label_values(sluicegate_provider_state{job=~"$job", instance=~"$instance", pool=~"$pool"}, provider)'),
    ], narrowed)


def rollouts():
    narrowed = {"sluicegate_rollout_": 'flag=~"$flag"', "sluicegate_flag_": 'flag=~"$flag"', "sluicegate_opening_": 'flag=~"$flag"'}
    bad = '{outcome!~"done|handed_over"}'
    outcomes = "sum by (%s) (rate(sluicegate_rollout_outcomes_total%s[R]))"
    state = 'sum(sluicegate_rollout_state{state=~"%s"})'
    return board("rollouts", "Sluicegate / Rollouts", "Shares that rise in steps, and how the exposed fare beside the rest.", [
        number("Running", "Rollouts that rise by themselves.", state % "running", "short", [(None, GREEN)]),
        number("Waiting", "Rollouts that wait for an approval or were paused.", state % "waiting|paused|scheduled", "short", [(None, GREEN), (1, BLUE)]),
        number("Held", "Rollouts that do not go on: no data, or both arms suffer; or that go back a step.", state % "held|retreating", "short", [(None, GREEN), (1, ORANGE)]),
        number("Cancelled", "Rollouts that were cancelled and wait for a person; frozen: cancelled twice.", state % "cancelled|frozen", "short", [(None, GREEN), (1, RED)]),
        number("Done", "Rollouts at 100 %, also with a hold-back arm.", state % "done|holding_back", "short", [(None, GREEN)]),
        number("Outcomes of the exposed", "Without outcomes nothing advances.",
               'sum(rate(sluicegate_rollout_outcomes_total{arm="exposed"}[R]))', "cps", [(None, BLUE), (0.01, GREEN)]),
        graph("Share", "The share that is exposed.", ("max by (flag) (sluicegate_rollout_share_ratio)", "{{flag}}"), unit="percentunit", largest=1, width=24),
        states("State", "What each rollout was, over time.", "max by (flag, state) (sluicegate_rollout_state) == 1", "{{flag}} {{state}}", {"1": ("is", BLUE)}),
        graph("Failures, exposed beside the rest", "The share of outcomes that are not done, by arm. The rollout is cancelled by evidence, not by this line.",
              (f"{outcomes % ('flag, arm', bad)} / {outcomes % ('flag, arm', '')}", "{{flag}} {{arm}}"), unit="percentunit"),
        graph("Outcomes by arm", "How many outcomes each arm has; missing ones count as failures.", (outcomes % ("flag, arm", ""), "{{flag}} {{arm}}"), unit="cps"),
        graph("Outcomes of the exposed", "What came of exposed jobs.",
              (outcomes % ("outcome", '{arm="exposed"}'), "{{outcome}}"), unit="cps", stacked=True),
        graph("Outcomes of the rest", "What came of all other jobs.", (outcomes % ("outcome", '{arm="rest"}'), "{{outcome}}"), unit="cps", stacked=True),
        graph("Cancelled, by guard and reason", "How often a rollout was cancelled within an hour, and by which guard.",
              ("sum by (flag, guard, reason) (increase(sluicegate_rollout_cancelled_total[1h]))", "{{flag}} {{guard}} {{reason}}"), width=24),
    ], [variable("flag", "Flag", 'label_values(sluicegate_rollout_share_ratio{job=~"$job", instance=~"$instance"}, flag)')], narrowed)


def flags():
    narrowed = {name: 'flag=~"$flag"' for name in ("sluicegate_flag_", "sluicegate_opening_ends_", "sluicegate_evaluations_")}
    return board("flags", "Sluicegate / Flags", "What flags say, who turned them, and what ends when.", [
        number("Revision", "The revision of the flags in force.", "max(sluicegate_snapshot_revision)", "none", [(None, GREEN)]),
        number("With an opening", "Flags over which a temporary value lies.", "sum(sluicegate_opening_ends_timestamp_seconds > bool 0)", "short",
               [(None, GREEN), (1, BLUE)]),
        number("Overdue", "Openings past their end that could not be closed.", "sum(sluicegate_openings_overdue)", "short", [(None, GREEN), (1, RED)]),
        number("Drifted", "Flags managed by the file that are not as it says.", "sum(sluicegate_flags_drifted)", "short", [(None, GREEN), (1, ORANGE)]),
        number("Configuration", "Whether the file was fine when it was last read.", "min(sluicegate_config_reload_ok)", "none",
               [(None, RED), (1, GREEN)], {"0": "refused", "1": "fine"}),
        number("Store", "Whether the store took what was last written to it.", "min(sluicegate_store_writable)", "none",
               [(None, RED), (1, GREEN)], {"0": "refuses", "1": "writes"}),
        row("Openings"),
        table("Openings", "Temporary values, and when they end. `sluicegate flag list` says who, why, and what stands below.",
              "max by (flag) (sluicegate_opening_ends_timestamp_seconds) * 1000 > 0", "dateTimeFromNow", "ends"),
        table("Changed lately", "When what a flag says last changed, of those that ever did.", "max by (flag) (sluicegate_flag_changed_timestamp_seconds) * 1000 > 0",
              "dateTimeFromNow", "changed"),
        graph("Extended and reminded", "Openings that were extended by themselves because their end would have hurt, and reminders before an end.",
              ("sum(increase(sluicegate_opening_extensions_total[R]))", "extended by itself"), ("sum(increase(sluicegate_opening_reminders_total[R]))", "reminded")),
        graph("Notices", "Notices for webhooks, by what became of them.", (each("outcome", "sluicegate_notices_total", "increase"), "{{outcome}}")),
        row("Changes"),
        graph("Changes, by cause", "operator: a person; file: the file of flags; expiry and health: the daemon ended or extended an opening.",
              (each("cause", "sluicegate_flag_changes_total", "increase"), "{{cause}}"), stacked=True),
        graph("Changes, by flag", "Which flags were turned.", ("sum by (flag) (increase(sluicegate_flag_changes_total[R])) > 0", "{{flag}}"), stacked=True),
        row("Values"),
        graph("What flags say", "Numbers and booleans; durations in seconds, rates per second. Choose flags above.",
              ("max by (flag) (sluicegate_flag_value)", "{{flag}}"), width=24),
        graph("Evaluations", "How often each flag was evaluated, the ten most asked.",
              ("topk(10, sum by (flag) (rate(sluicegate_evaluations_total[R])))", "{{flag}}"), unit="ops"),
        graph("Revision, by instance", "Every daemon should come to the same revision.", ("sluicegate_snapshot_revision", "{{instance}}"), unit="none"),
    ], [variable("flag", "Flag", 'label_values(sluicegate_flag_changed_timestamp_seconds{job=~"$job", instance=~"$instance"}, flag)')], narrowed)


def main():
    wrong = []
    for one in (overview(), queue(), providers(), rollouts(), flags()):
        path = HERE / "sluicegate" / f"{one['uid'].removeprefix('sluicegate-')}.json"
        text = written(one) + "\n"
        if "--check" in sys.argv[1:]:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                wrong.append(str(path.name))
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if wrong:
        sys.exit(f"{', '.join(wrong)}: not as boards.py says; run it without --check")


if __name__ == "__main__":
    main()
