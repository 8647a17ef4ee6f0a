//! Whether what was answered could have come of a pool that keeps its promises.
//!
//! Each rule uses only what is sure: an answer came after what it tells of was done, and a request before it. What
//! overlaps may have happened in either order, and what was not answered may have happened or not.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::history::{Asked, Event, Got, Millis, Outcome, Pool};

/// What clocks and rounding may differ by.
const SLACK: Millis = 50;

/// For how long what was read ahead for a crowd is good.
const READ_AHEAD: Millis = 100;

/// How long after it was asked a request may still be carried out that was not answered.
const LATE: Millis = 5_000;

/// Of the keys that were never handed out those are looked at that were added so recently: what was not answered before
/// cannot have touched them.
const RECENT: Millis = 3_000;

/// What a run may promise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// How many keys the store reads ahead for a crowd, at most: so far the order of last use is kept.
    pub(crate) ahead: usize,
    /// Whether the store's clock never jumped: else nothing is known of when leases and rests end.
    pub(crate) has_true_clock: bool,
}

/// A key as it is after the run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Final {
    pub(crate) usage_count: u64,
    pub(crate) open: u64,
}

/// What a history adds up to, for people.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) operations: usize,
    pub(crate) handed_out: usize,
    pub(crate) counted: u64,
    pub(crate) lost: usize,
    pub(crate) violations: Vec<String>,
}

/// A hand-out that was answered.
struct HandOut<'a> {
    event: &'a Event,
    key: &'a str,
    lease: Option<&'a str>,
    expires_at: Millis,
}

/// What is known of a lease.
#[derive(Default)]
struct Ends<'a> {
    /// Requests that would have ended it, in the order in which they were asked.
    reports: Vec<(&'a Event, Outcome)>,
    /// When it was renewed, and until when at least it lasted then.
    renewed: Vec<(Millis, Millis)>,
    /// Nobody knows until when it lasts.
    is_unsure: bool,
}

/// Judges the history of one pool, whose keys are `finals` now that every lease has lapsed.
pub(crate) fn check(pool: Pool, terms: Terms, events: &[Event], finals: &BTreeMap<String, Final>) -> Summary {
    let events: Vec<&Event> = events.iter().filter(|event| event.pool == pool).collect();
    let mut judge = Judge { pool, terms, violations: Vec::new() };
    let outs = hand_outs(&events, terms);
    let ends = ends(&events);
    judge.no_lease_twice(&outs);
    judge.leases_end_once(&outs, &ends, &removed(&events));
    judge.the_same_request_gets_the_same_lease(&outs, &ends);
    judge.limits_hold(&events, &outs, &ends);
    judge.counts_grow(&events, &outs, &ends);
    judge.counts_are_true(&events, &outs, &ends, finals);
    judge.what_is_off_stays_off(&events, &outs);
    match pool {
        Pool::Ordered => judge.order_is_kept(&events, &outs),
        Pool::Counting | Pool::Refunding => judge.fresh_ones_go_first(&events),
    }
    Summary {
        operations: events.len(),
        handed_out: outs.len(),
        counted: finals.values().map(|key| key.usage_count).sum(),
        lost: events.iter().filter(|event| matches!(event.got, Got::Lost)).count(),
        violations: judge.violations,
    }
}

fn hand_outs<'a>(events: &[&'a Event], terms: Terms) -> Vec<HandOut<'a>> {
    let mut seen = HashSet::new();
    let handed_out = events.iter().filter(|event| matches!(event.asked, Asked::Lease { .. } | Asked::Take));
    let out = handed_out.filter_map(|event| match &event.got {
        Got::Key { key, lease, expires_at, .. } => {
            // It may have lapsed at any time, where the clock jumped.
            let expires_at = if terms.has_true_clock || lease.is_none() { *expires_at } else { 0 };
            Some(HandOut { event, key, lease: lease.as_deref(), expires_at })
        }
        _ => None,
    });
    // The answers to a request and its repeats are one hand-out: the first that came.
    let mut outs: Vec<HandOut<'a>> = out.collect();
    outs.sort_by_key(|out| out.event.got_at);
    outs.retain(|out| out.lease.is_none_or(|lease| seen.insert((lease, idem(out.event)))));
    outs
}

fn idem(event: &Event) -> Option<&str> {
    match &event.asked {
        Asked::Lease { idem } => idem.as_deref(),
        _ => None,
    }
}

/// Keys that were added with uses counted, and these.
fn imported<'a>(events: &[&'a Event]) -> HashMap<&'a str, u64> {
    let all = events.iter().filter_map(|event| match &event.asked {
        Asked::Import { keys } => Some(keys),
        _ => None,
    });
    all.flatten().map(|(key, count)| (key.as_str(), *count)).collect()
}

/// Keys whose count an operator may have set to the limit, and since when.
fn spent<'a>(events: &[&'a Event]) -> HashMap<&'a str, Millis> {
    let mut spent: HashMap<&str, Millis> = HashMap::new();
    for event in events {
        if let Asked::Spend { key } = &event.asked {
            let since = spent.entry(key).or_insert(Millis::MAX);
            *since = event.asked_at.min(*since);
        }
    }
    spent
}

/// Keys that may have been taken out of the pool.
fn removed<'a>(events: &[&'a Event]) -> HashSet<&'a str> {
    let removed = events.iter().filter_map(|event| match &event.asked {
        Asked::Remove { key } => Some(key.as_str()),
        _ => None,
    });
    removed.collect()
}

fn ends<'a>(events: &[&'a Event]) -> HashMap<&'a str, Ends<'a>> {
    let mut ends: HashMap<&str, Ends<'_>> = HashMap::new();
    for event in events {
        match (&event.asked, &event.got) {
            (Asked::Report { lease, outcome }, _) => {
                ends.entry(lease).or_default().reports.push((event, *outcome));
            }
            (Asked::Renew { lease }, Got::Key { expires_at, .. }) => {
                ends.entry(lease).or_default().renewed.push((event.got_at, *expires_at));
            }
            (Asked::Renew { lease }, Got::Lost) => ends.entry(lease).or_default().is_unsure = true,
            _ => {}
        }
    }
    ends.values_mut().for_each(|ends| ends.reports.sort_by_key(|(event, _)| event.asked_at));
    ends
}

impl HandOut<'_> {
    /// Whether this hand-out may have stopped to hold its use before `at`, without counting it.
    fn may_be_released(&self, ends: &HashMap<&str, Ends<'_>>, pool: Pool, at: Millis) -> bool {
        let Some(lease) = self.lease else { return false };
        if pool == Pool::Refunding && self.expires_at <= at + SLACK {
            return true;
        }
        let Some(ends) = ends.get(lease) else { return false };
        let free = |(event, outcome): &(&Event, Outcome)| {
            !matches!(outcome, Outcome::Used) && !matches!(event.got, Got::Gone | Got::Refused) && event.asked_at <= at
        };
        ends.reports.iter().any(free)
    }
}

struct Judge {
    pool: Pool,
    terms: Terms,
    violations: Vec<String>,
}

impl Judge {
    fn found(&mut self, what: String) {
        self.violations.push(format!("{}: {what}", self.pool.name()));
    }

    /// Two requests that are not the same never get one lease.
    fn no_lease_twice(&mut self, outs: &[HandOut<'_>]) {
        let mut by_lease: HashMap<&str, &HandOut<'_>> = HashMap::new();
        for out in outs {
            let Some(lease) = out.lease else { continue };
            if by_lease
                .insert(lease, out)
                .is_some_and(|other| idem(other.event) != idem(out.event) || idem(out.event).is_none())
            {
                self.found(format!("lease {lease} was handed out twice"));
            }
        }
    }

    /// One report of a lease is taken; none after it has lapsed; and while it is open, the first one is.
    fn leases_end_once(&mut self, outs: &[HandOut<'_>], ends: &HashMap<&str, Ends<'_>>, removed: &HashSet<&str>) {
        for out in outs.iter().filter(|out| !removed.contains(out.key)) {
            let Some(lease) = out.lease else { continue };
            let Some(ends) = ends.get(lease) else { continue };
            let taken = ends.reports.iter().filter(|(event, _)| matches!(event.got, Got::Done)).count();
            if taken > 1 {
                self.found(format!("{taken} reports of lease {lease} were taken"));
            }
            let until = ends.renewed.iter().map(|(_, until)| *until).chain([out.expires_at]).max().unwrap_or_default();
            for (event, _) in &ends.reports {
                let may_have_ended_it = |other: &Event| {
                    !std::ptr::eq(other, *event)
                        && other.asked_at <= event.got_at
                        && !matches!(other.got, Got::Refused | Got::Gone)
                };
                let others_before = ends.reports.iter().any(|(other, _)| may_have_ended_it(other));
                match event.got {
                    Got::Done if self.terms.has_true_clock && event.asked_at > until + SLACK && !ends.is_unsure => {
                        self.found(format!("lease {lease} took a report {} ms after its end", event.asked_at - until));
                    }
                    // Somebody has it, and has not ended it.
                    Got::Gone if !others_before && event.got_at + SLACK < out.expires_at => {
                        let left = out.expires_at - event.got_at;
                        self.found(format!("lease {lease} was gone {left} ms before its end"));
                    }
                    _ => {}
                }
            }
        }
    }

    /// A request that is repeated while its lease is open gets that lease.
    fn the_same_request_gets_the_same_lease(&mut self, outs: &[HandOut<'_>], ends: &HashMap<&str, Ends<'_>>) {
        let mut by_idem: HashMap<&str, Vec<&HandOut<'_>>> = HashMap::new();
        for out in outs {
            if let Some(idem) = idem(out.event) {
                by_idem.entry(idem).or_default().push(out);
            }
        }
        for (idem, outs) in by_idem {
            for (n, first) in outs.iter().enumerate() {
                for second in &outs[n + 1..] {
                    let ended = first.lease.and_then(|lease| ends.get(lease)).is_some_and(|ends| {
                        ends.reports.iter().any(|(event, _)| event.asked_at <= second.event.got_at)
                    });
                    let lapsed = first.expires_at <= second.event.got_at + SLACK;
                    if first.lease != second.lease && !ended && !lapsed {
                        self.found(format!("the same request {idem} got two leases, both of them open"));
                    }
                }
            }
        }
    }

    /// What a key has surely given, with one hand-out more, is never above its limit.
    fn limits_hold(&mut self, events: &[&Event], outs: &[HandOut<'_>], ends: &HashMap<&str, Ends<'_>>) {
        let imported = imported(events);
        let mut by_key: HashMap<&str, Vec<&HandOut<'_>>> = HashMap::new();
        for out in outs {
            by_key.entry(out.key).or_default().push(out);
        }
        for (key, outs) in by_key {
            let limit = self.pool.uses() - imported.get(key).copied().unwrap_or(0);
            let kept =
                outs.iter().filter(|out| !out.may_be_released(ends, self.pool, Millis::MAX - SLACK)).count() as u64;
            if kept > limit {
                self.found(format!("{key} gave {kept} uses that were never given back"));
            }
            for out in &outs {
                let before = outs.iter().filter(|other| other.event.got_at < out.event.asked_at);
                let sure =
                    before.filter(|other| !other.may_be_released(ends, self.pool, out.event.got_at)).count() as u64;
                if sure >= limit {
                    self.found(format!("{key} was handed out again after {sure} uses"));
                }
            }
        }
    }

    /// A count that was answered has everything in it that was acknowledged before it was asked for.
    fn counts_grow(&mut self, events: &[&Event], outs: &[HandOut<'_>], ends: &HashMap<&str, Ends<'_>>) {
        let mut acknowledged: HashMap<&str, Vec<Millis>> = HashMap::new();
        let key_of: HashMap<&str, &str> = outs.iter().filter_map(|out| Some((out.lease?, out.key))).collect();
        for event in events {
            match (&event.asked, &event.got) {
                (Asked::Increment { key }, Got::Done | Got::Key { .. }) => {
                    acknowledged.entry(key).or_default().push(event.got_at);
                }
                (Asked::Take, Got::Key { key, .. }) => acknowledged.entry(key).or_default().push(event.got_at),
                _ => {}
            }
        }
        for (lease, ends) in ends {
            let taken = ends
                .reports
                .iter()
                .find(|(event, outcome)| matches!((outcome, &event.got), (Outcome::Used, Got::Done)));
            if let (Some((event, _)), Some(key)) = (taken, key_of.get(lease)) {
                acknowledged.entry(key).or_default().push(event.got_at);
            }
        }
        acknowledged.values_mut().for_each(|times| times.sort_unstable());
        let spent = spent(events);
        for event in events {
            let Got::Key { key, usage_count: Some(count), .. } = &event.got else { continue };
            let Some(times) = acknowledged.get(key.as_str()) else { continue };
            let before = times.partition_point(|time| *time < event.asked_at) as u64;
            // Increments go beyond the limit, and an operator who spends such a key takes them back.
            let may_be_set = spent.get(key.as_str()).is_some_and(|since| *since <= event.got_at);
            let before = if may_be_set { before.min(self.pool.uses()) } else { before };
            if *count < before {
                self.found(format!("{key} was answered with {count} uses, when {before} were acknowledged"));
            }
        }
    }

    /// Every acknowledged use is counted; what was not acknowledged is counted once at most; nothing else is.
    fn counts_are_true(
        &mut self,
        events: &[&Event],
        outs: &[HandOut<'_>],
        ends: &HashMap<&str, Ends<'_>>,
        finals: &BTreeMap<String, Final>,
    ) {
        // What is counted for sure, and what may be.
        let mut bounds: HashMap<&str, (u64, u64)> = HashMap::new();
        let mut unknown = 0;
        let mut add = |key: &'_ str, sure: bool, maybe: bool| {
            let Some((key, _)) = finals.get_key_value(key) else { return };
            let (least, most) = bounds.entry(key).or_default();
            *least += u64::from(sure);
            *most += u64::from(maybe);
        };
        let mut leases = HashSet::new();
        for out in outs {
            let Some(lease) = out.lease else {
                add(out.key, true, true);
                continue;
            };
            if !leases.insert(lease) {
                continue;
            }
            let reports = ends.get(lease).map(|ends| ends.reports.as_slice()).unwrap_or_default();
            let done = reports.iter().find(|(event, _)| matches!(event.got, Got::Done));
            let lost = |used: bool| {
                let is_it = |outcome: &Outcome| (*outcome == Outcome::Used) == used;
                reports.iter().any(|(event, outcome)| matches!(event.got, Got::Lost) && is_it(outcome))
            };
            let lapsed_counts = self.pool != Pool::Refunding;
            let (sure, maybe) = match done {
                Some((_, Outcome::Used)) => (true, true),
                Some(_) => (false, false),
                None => (lapsed_counts && !lost(false), lapsed_counts || lost(true)),
            };
            add(out.key, sure, maybe);
        }
        for event in events {
            match (&event.asked, &event.got) {
                (Asked::Increment { key }, Got::Done | Got::Key { .. }) => add(key, true, true),
                (Asked::Increment { key }, Got::Lost) => add(key, false, true),
                (Asked::Take | Asked::Lease { .. }, Got::Lost) => unknown += 1,
                _ => {}
            }
        }
        let imported = imported(events);
        let set = spent(events);
        let mut beyond = 0;
        for (key, last) in finals {
            if last.open > 0 {
                self.found(format!("{key} has {} leases open long after all have lapsed", last.open));
            }
            if set.contains_key(key.as_str()) {
                continue;
            }
            let before = imported.get(key.as_str()).copied().unwrap_or(0);
            let (least, most) = bounds.get(key.as_str()).copied().unwrap_or_default();
            let (least, most) = (least + before, most + before);
            if last.usage_count < least {
                self.found(format!("{key} has {} uses counted, of {least} at least", last.usage_count));
            }
            beyond += last.usage_count.saturating_sub(most);
            if last.usage_count > most + unknown {
                self.found(format!("{key} has {} uses counted, of {} at most", last.usage_count, most + unknown));
            }
        }
        if beyond > unknown {
            self.found(format!("{beyond} uses are counted that nobody asked for, and {unknown} answers were lost"));
        }
    }

    /// A key that was switched off, taken out of use by a report, or rests is not handed out.
    fn what_is_off_stays_off(&mut self, events: &[&Event], outs: &[HandOut<'_>]) {
        let key_of: HashMap<&str, &str> = outs.iter().filter_map(|out| Some((out.lease?, out.key))).collect();
        let mut off: HashMap<&str, Vec<Off>> = HashMap::new();
        // Between which instants a key may have been brought back.
        let mut on: HashMap<&str, Vec<(Millis, Millis)>> = HashMap::new();
        // The same of keys whose rest was ended.
        let mut rested: HashMap<&str, Vec<(Millis, Millis)>> = HashMap::new();
        // Since when a key is spent or removed.
        let mut gone: HashMap<&str, Vec<Millis>> = HashMap::new();
        for event in events {
            let (asked_at, got_at) = (event.asked_at, event.got_at);
            match (&event.asked, &event.got) {
                // Who follows the file does so in its own time.
                (Asked::Line { key }, _) => on.entry(key).or_default().push((asked_at, Millis::MAX)),
                (Asked::Switch { on: true, .. }, Got::Refused) => {}
                (Asked::Switch { key, on: true }, Got::Lost) => {
                    on.entry(key).or_default().push((asked_at, Millis::MAX))
                }
                (Asked::Switch { key, on: true }, _) => on.entry(key).or_default().push((asked_at, got_at)),
                (Asked::EndRest { key }, got) => {
                    let by = if matches!(got, Got::Lost) { Millis::MAX } else { got_at };
                    rested.entry(key).or_default().push((asked_at, by));
                }
                (Asked::Spend { key } | Asked::Remove { key }, Got::Done) => {
                    gone.entry(key).or_default().push(got_at);
                }
                (Asked::Switch { key, on: false }, Got::Done) => {
                    off.entry(key).or_default().push(Off { asked_at, from: got_at, until: Millis::MAX });
                }
                (Asked::Report { lease, outcome }, Got::Done) => {
                    let Some(key) = key_of.get(lease.as_str()) else { continue };
                    let until = match outcome {
                        Outcome::Exhausted | Outcome::Rejected => Millis::MAX,
                        Outcome::RateLimited { seconds } if self.terms.has_true_clock => {
                            asked_at + 1000 * Millis::from(*seconds) - SLACK
                        }
                        Outcome::RateLimited { .. } | Outcome::Used | Outcome::Unused => continue,
                    };
                    off.entry(key).or_default().push(Off { asked_at, from: got_at, until });
                }
                _ => {}
            }
        }
        for event in events {
            if !matches!(event.asked, Asked::Lease { idem: None } | Asked::Take | Asked::Find) {
                continue;
            }
            let Got::Key { key, .. } = &event.got else { continue };
            if gone.get(key.as_str()).into_iter().flatten().any(|since| *since < event.asked_at) {
                self.found(format!("{key} was handed out after an operator had spent or removed it"));
            }
            for off in off.get(key.as_str()).into_iter().flatten() {
                // What ends a rest ends no other reason.
                let back = if off.until == Millis::MAX { &on } else { &rested };
                let mut back = back.get(key.as_str()).into_iter().flatten();
                let mut may_be_on = || back.any(|(asked, got)| *got >= off.asked_at && *asked <= event.got_at);
                if off.from < event.asked_at && event.got_at < off.until && !may_be_on() {
                    let ago = event.asked_at - off.from;
                    self.found(format!("{key} was handed out {ago} ms after it went out of use"));
                }
            }
        }
    }

    /// A key that was handed out before goes after those that never were, but for as many as a crowd reads ahead.
    fn fresh_ones_go_first(&mut self, events: &[&Event]) {
        let mut added: BTreeMap<&str, Millis> = BTreeMap::new();
        let mut touched_at: HashMap<&str, Millis> = HashMap::new();
        let mut out: HashMap<&str, Millis> = HashMap::new();
        let mut lost: Vec<Millis> = Vec::new();
        for event in events {
            let mut touch = |key| {
                let first = touched_at.entry(key).or_insert(Millis::MAX);
                *first = event.asked_at.min(*first);
            };
            match (&event.asked, &event.got) {
                (Asked::Add { keys }, Got::Done) => keys.iter().for_each(|key| _ = added.insert(key, event.got_at)),
                (Asked::Lease { .. } | Asked::Find, Got::Key { key, .. }) => {
                    touch(key);
                    let first = out.entry(key).or_insert(Millis::MAX);
                    *first = event.got_at.min(*first);
                }
                (Asked::Lease { .. } | Asked::Find, Got::Lost) => lost.push(event.asked_at),
                (
                    Asked::Increment { key } | Asked::Switch { key, .. } | Asked::Spend { key } | Asked::Remove { key },
                    _,
                ) => touch(key),
                _ => {}
            }
        }
        // Handed out before anybody was told that it was added, as may be.
        let touch = |(key, at): (&&str, &Millis)| touched_at.get(key).map(|touch| *touch.max(at));
        let mut touches: Vec<Millis> = added.iter().filter_map(touch).collect();
        let mut additions: Vec<Millis> = added.values().copied().collect();
        [&mut touches, &mut additions, &mut lost].into_iter().for_each(|times| times.sort_unstable());
        for event in events {
            let (Asked::Lease { idem: None } | Asked::Find, Got::Key { key, .. }) = (&event.asked, &event.got) else {
                continue;
            };
            let read_at = event.asked_at - READ_AHEAD - SLACK;
            if out.get(key.as_str()).is_none_or(|before| *before >= read_at) {
                continue;
            }
            let between = |times: &[Millis], from: Millis, to: Millis| {
                times.partition_point(|at| *at <= to).saturating_sub(times.partition_point(|at| *at < from))
            };
            let from = read_at - RECENT;
            let there = between(&additions, from, read_at);
            let touched = between(&touches, from, event.got_at);
            // Each of these may have got one that nobody knows of.
            let unknown = between(&lost, from - LATE, event.got_at);
            let fresh = there.saturating_sub(touched + unknown);
            if fresh > self.terms.ahead {
                self.found(format!("{key} was handed out again while {fresh} keys had never been"));
            }
        }
    }

    /// A key of an ordered pool is handed out only where none before it surely had uses left.
    fn order_is_kept(&mut self, events: &[&Event], outs: &[HandOut<'_>]) {
        // Keys that were taken out of use or counted on by others are not looked at.
        let mut touched: HashSet<&str> = HashSet::new();
        let mut there_since: BTreeMap<&str, Millis> = BTreeMap::new();
        let mut lost: Vec<Millis> = Vec::new();
        for event in events {
            match (&event.asked, &event.got) {
                (Asked::Switch { key, .. } | Asked::Line { key } | Asked::Increment { key }, _) => {
                    touched.insert(key);
                }
                (Asked::Add { keys }, Got::Done) => {
                    keys.iter().for_each(|key| _ = there_since.entry(key).or_insert(event.got_at));
                }
                (Asked::Take, Got::Lost) => lost.push(event.asked_at),
                _ => {}
            }
        }
        let mut taken: HashMap<&str, Vec<Millis>> = HashMap::new();
        for out in outs {
            taken.entry(out.key).or_default().push(out.event.asked_at);
        }
        taken.values_mut().chain([&mut lost]).for_each(|times| times.sort_unstable());
        let until = |times: &[Millis], at: Millis| times.partition_point(|time| *time <= at) as u64;
        for out in outs.iter().filter(|out| !touched.contains(out.key)) {
            let (asked_at, got_at) = (out.event.asked_at, out.event.got_at);
            // Keys are named in the order in which they were added.
            for (earlier, since) in there_since.range(..out.key).filter(|(key, _)| !touched.contains(**key)) {
                let gone =
                    until(taken.get(earlier).map(Vec::as_slice).unwrap_or_default(), got_at) + until(&lost, got_at);
                if *since < asked_at && gone < self.pool.uses() {
                    self.found(format!("{} was handed out while {earlier} had uses left", out.key));
                }
            }
        }
    }
}

/// A key went out of use.
struct Off {
    asked_at: Millis,
    from: Millis,
    until: Millis,
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "sk-stability-1";
    const TERMS: Terms = Terms { ahead: 0, has_true_clock: true };

    fn event(asked: Asked, got: Got, at: Millis) -> Event {
        Event { pool: Pool::Counting, asked, asked_at: at, got, got_at: at + 1 }
    }

    fn increment(usage_count: u64, at: Millis) -> Event {
        let got =
            Got::Key { key: KEY.to_owned(), lease: None, usage_count: Some(usage_count), expires_at: Millis::MAX };
        event(Asked::Increment { key: KEY.to_owned() }, got, at)
    }

    fn violations(events: &[Event], usage_count: u64) -> Vec<String> {
        let finals = BTreeMap::from([(KEY.to_owned(), Final { usage_count, open: 0 })]);
        check(Pool::Counting, TERMS, events, &finals).violations
    }

    #[test]
    fn a_count_that_falls_back_is_found_unless_an_operator_set_it() {
        let mut events: Vec<Event> = (1..=6).map(|count| increment(count, 10 * count as Millis)).collect();
        assert_eq!(violations(&events, 6), Vec::<String>::new());
        events.push(increment(5, 80));
        let found = violations(&events, 7);
        assert_eq!(found, [format!("stability: {KEY} was answered with 5 uses, when 6 were acknowledged")]);
        events.push(event(Asked::Spend { key: KEY.to_owned() }, Got::Done, 70));
        assert_eq!(violations(&events, 5), Vec::<String>::new());
        // Not below the limit to which it was set.
        events.push(increment(3, 90));
        assert_eq!(violations(&events, 5).len(), 1);
    }
}
