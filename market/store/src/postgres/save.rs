//! Saves the changes: one statement for each kind of row, all sent in one pipeline with the commit.

use std::collections::{BTreeMap, BTreeSet};

use souk_domain::{
    Audience, CancelReason, Event, EventKind, Item, NewEvent, Order, Party, PartyId, Role, Sku, Till, TillId,
    Topic, WorkingSet,
};
use uuid::Uuid;

use super::{
    connection::{Pipeline, params},
    convert::to_json,
    deliveries::{Content, NewDelivery, put_deliveries},
    error::Failure,
    load::Before,
    rows::pairs,
    statements as sql,
};
use crate::{Receipt, audit};

/// Collects one value of each row into an array column.
macro_rules! column {
    ($rows:expr, $value:expr) => {
        $rows.iter().map($value).collect::<Vec<_>>()
    };
}

/// What is known about a batch before the server has answered.
#[derive(Default)]
pub(super) struct Saving {
    pub(super) receipt: Receipt,
    /// The index of the reply that holds the feed positions; `None` if no change affects search.
    pub(super) feed: Option<usize>,
    /// The index of the reply that holds a row for each event to expand; `None` if there are none.
    pub(super) queued: Option<usize>,
    /// The index of the reply that holds the locked mailboxes; `None` if there are none.
    pub(super) mailboxes: Option<usize>,
}

/// Adds the statements for all changes; `before` holds the parties as loaded. The mailboxes come last, so
/// that their locks, for which many batches compete, are held only briefly.
pub(super) fn add_all(
    pipeline: &mut Pipeline<'_>,
    rows: &WorkingSet,
    before: &BTreeMap<PartyId, Before>,
) -> Result<Saving, Failure> {
    add_parties(pipeline, rows, before)?;
    let feed = add_items(pipeline, rows);
    add_orders(pipeline, rows);
    add_rides(pipeline, rows)?;
    add_tills(pipeline, rows)?;
    add_wishes_and_ratings(pipeline, rows);
    add_requests(pipeline, rows)?;
    add_audit(pipeline, rows);
    let mut receipt = Receipt::of(rows);
    let queued = add_events(pipeline, rows)?;
    if !rows.exhumed.is_empty() {
        pipeline.add(sql::EXHUME, params![column!(rows.exhumed, |letter| letter.0)]);
    }
    let mailboxes = add_mailboxes(pipeline, rows, &mut receipt)?;
    Ok(Saving { receipt, feed, queued, mailboxes })
}

fn add_parties(
    pipeline: &mut Pipeline<'_>,
    rows: &WorkingSet,
    before: &BTreeMap<PartyId, Before>,
) -> Result<(), Failure> {
    let changed: Vec<_> = rows.parties.changes().filter_map(|(_, party)| party).collect();
    if changed.is_empty() {
        return Ok(());
    }
    let (known, new): (Vec<&Party>, Vec<&Party>) =
        changed.iter().copied().partition(|party| before.contains_key(&party.id));
    let host = |party: &&Party| party.callback.as_ref().map(|callback| callback.host.clone());
    let port = |party: &&Party| party.callback.as_ref().map(|callback| i32::from(callback.port));
    let since = |party: &&Party| party.suspension.as_ref().map(|suspension| suspension.since.0);
    let reason = |party: &&Party| party.suspension.as_ref().map(|s| s.reason.as_str().to_owned());
    let tills = |parties: &[&Party]| {
        let written = parties.iter().map(|party| (!party.tills.is_empty()).then(|| to_json(&party.tills)));
        written.map(Option::transpose).collect::<Result<Vec<_>, _>>()
    };
    let name = |party: &&Party| rows.claimed_names.get(&party.id).map(|name| name.as_str().to_owned());
    if !new.is_empty() {
        pipeline.add(
            sql::ADD_PARTIES,
            params![
                column!(new, |party| party.id.0),
                column!(new, |party| party.role.as_str()),
                column!(new, |party| party.display_name.as_str().to_owned()),
                column!(new, host),
                column!(new, port),
                column!(new, |party| party.registered_at.0),
                column!(new, |party| party.epoch),
                column!(new, since),
                column!(new, reason),
                tills(&new)?,
                column!(new, name),
            ],
        );
    }
    if !known.is_empty() {
        pipeline.add(
            sql::CHANGE_PARTIES,
            params![
                column!(known, |party| party.id.0),
                column!(known, |party| party.display_name.as_str().to_owned()),
                column!(known, host),
                column!(known, port),
                column!(known, |party| party.epoch),
                column!(known, since),
                column!(known, reason),
                tills(&known)?,
                column!(known, name),
                column!(known, |party| before[&party.id].revision),
            ],
        );
    }
    Ok(())
}

fn add_tills(pipeline: &mut Pipeline<'_>, rows: &WorkingSet) -> Result<(), Failure> {
    let kept: Vec<_> = rows.tills.changes().filter_map(|(_, till)| till).collect();
    if !kept.is_empty() {
        let bodies = kept.iter().map(to_json).collect::<Result<Vec<_>, _>>()?;
        let ids = column!(kept, |till| till.id.0);
        pipeline.add(sql::PUT_TILLS, params![ids, column!(kept, |till| till.seller.0), bodies]);
    }
    let removed: Vec<Uuid> = removed_tills(rows).map(|id| id.0).collect();
    if !removed.is_empty() {
        pipeline.add(sql::REMOVE_TILLS, params![removed]);
    }
    Ok(())
}

fn removed_tills(rows: &WorkingSet) -> impl Iterator<Item = TillId> {
    rows.tills.changes().filter(|(_, till)| till.is_none()).map(|(id, _)| id)
}

/// Returns the index of the reply that will hold the feed positions.
fn add_items(pipeline: &mut Pipeline<'_>, rows: &WorkingSet) -> Option<usize> {
    let changed = rows.items.changes().filter_map(|(_, item)| item);
    // Most purchases change only the stock. Writing those separately keeps the wide row, its indexes and the
    // feed out of the hot path.
    let (mut searchable, in_stock): (Vec<&Item>, Vec<&Item>) =
        changed.partition(|item| rows.search_changes.contains(&item.id));
    // Withdrawn items first: another item may be listed with the SKU of one, and no two of them may have it meanwhile.
    searchable.sort_by_key(|item| item.is_listed());
    if !in_stock.is_empty() {
        pipeline.add(
            sql::PUT_STOCK,
            params![
                column!(in_stock, |item| item.id.0),
                column!(in_stock, |item| item.quantity),
                column!(in_stock, |item| item.supplied),
                column!(in_stock, |item| item.sold),
                column!(in_stock, |item| item.withdrawn),
                column!(in_stock, |item| item.version),
                column!(in_stock, |item| item.updated_at.0),
            ],
        );
    }
    (!searchable.is_empty()).then(|| {
        pipeline.add(
            sql::PUT_ITEMS,
            params![
                column!(searchable, |item| item.id.0),
                column!(searchable, |item| item.seller.0),
                column!(searchable, |item| item.name.as_str().to_owned()),
                column!(searchable, |item| item.category.as_str().to_owned()),
                column!(searchable, |item| item.unit_price.amount_minor()),
                column!(searchable, |item| item.unit_price.currency_code().to_owned()),
                column!(searchable, |item| item.quantity),
                column!(searchable, |item| item.supplied),
                column!(searchable, |item| item.sold),
                column!(searchable, |item| item.withdrawn),
                column!(searchable, |item| item.rating.count),
                column!(searchable, |item| item.rating.total_stars),
                column!(searchable, |item| item.version),
                column!(searchable, |item| item.created_at.0),
                column!(searchable, |item| item.updated_at.0),
                column!(searchable, |item| item.deleted_at.map(|time| time.0)),
                column!(searchable, |item| item.description.as_str().to_owned()),
                column!(searchable, |item| item.sku.as_ref().map(Sku::as_str).map(str::to_owned)),
                column!(searchable, |item| i16::from(item.sales_level.get())),
                column!(searchable, |item| i16::from(item.rank_class.get())),
            ],
        )
    })
}

fn add_orders(pipeline: &mut Pipeline<'_>, rows: &WorkingSet) {
    let changed: Vec<&Order> = rows.orders.changes().filter_map(|(_, order)| order).collect();
    if changed.is_empty() {
        return;
    }
    pipeline.add(
        sql::PUT_ORDERS,
        params![
            column!(changed, |order| order.id.0),
            column!(changed, |order| order.buyer.0),
            column!(changed, |order| order.buyer_name.as_str().to_owned()),
            column!(changed, |order| order.seller.0),
            column!(changed, |order| order.seller_name.as_str().to_owned()),
            column!(changed, |order| order.item.0),
            column!(changed, |order| order.item_name.as_str().to_owned()),
            column!(changed, |order| order.unit_price.amount_minor()),
            column!(changed, |order| order.unit_price.currency_code().to_owned()),
            column!(changed, |order| order.quantity),
            column!(changed, |order| order.total_price.amount_minor()),
            column!(changed, |order| order.status.as_str()),
            column!(changed, |order| order.placed_at.0),
            column!(changed, |order| order.shipped_at.map(|time| time.0)),
            column!(changed, |order| order.delivered_at.map(|time| time.0)),
            column!(changed, |order| order.cancelled_at.map(|time| time.0)),
            column!(changed, |order| order.cancelled_by.map(Role::as_str)),
            column!(changed, |order| order
                .cancel_reason
                .as_ref()
                .map(CancelReason::as_str)
                .map(str::to_owned)),
            column!(changed, |order| order.ride.map(|ride| ride.0)),
        ],
    );
}

fn add_rides(pipeline: &mut Pipeline<'_>, rows: &WorkingSet) -> Result<(), Failure> {
    let changed: Vec<_> = rows.rides.changes().filter_map(|(_, ride)| ride).collect();
    if changed.is_empty() {
        return Ok(());
    }
    let bodies = changed.iter().map(to_json).collect::<Result<Vec<_>, _>>()?;
    let ids = column!(changed, |ride| ride.id.0);
    pipeline.add(sql::PUT_RIDES, params![ids, column!(changed, |ride| ride.seller.0), bodies]);
    Ok(())
}

fn add_wishes_and_ratings(pipeline: &mut Pipeline<'_>, rows: &WorkingSet) {
    let added: Vec<_> = rows.wishes.changes().filter_map(|(_, wish)| wish).collect();
    if !added.is_empty() {
        let (buyers, items) = (column!(added, |wish| wish.buyer.0), column!(added, |wish| wish.item.0));
        pipeline.add(sql::PUT_WISHES, params![buyers, items, column!(added, |wish| wish.added_at.0)]);
    }
    let gone = rows.wishes.changes().filter(|(_, wish)| wish.is_none()).map(|(key, _)| key);
    let (buyers, items) = pairs(gone);
    if !buyers.is_empty() {
        pipeline.add(sql::REMOVE_WISHES, params![buyers, items]);
    }
    let ratings: Vec<_> = rows.ratings.changes().filter_map(|(key, stars)| Some((key, stars?))).collect();
    if !ratings.is_empty() {
        let (buyers, items) = (column!(ratings, |(key, _)| key.0.0), column!(ratings, |(key, _)| key.1.0));
        let stars = column!(ratings, |(_, stars)| i32::from(stars.get()));
        pipeline.add(sql::PUT_RATINGS, params![buyers, items, stars]);
    }
    let gone = rows.ratings.changes().filter(|(_, stars)| stars.is_none()).map(|(key, _)| key);
    let (buyers, items) = pairs(gone);
    if !buyers.is_empty() {
        pipeline.add(sql::REMOVE_RATINGS, params![buyers, items]);
    }
}

fn add_requests(pipeline: &mut Pipeline<'_>, rows: &WorkingSet) -> Result<(), Failure> {
    let done: Vec<_> = rows.requests.changes().filter_map(|(key, recorded)| Some((key, recorded?))).collect();
    if done.is_empty() {
        return Ok(());
    }
    let outcomes =
        done.iter().map(|(_, recorded)| to_json(&recorded.outcome)).collect::<Result<Vec<_>, _>>()?;
    let (ids, parties) = (column!(done, |(key, _)| key.1.0), column!(done, |(key, _)| key.0.0));
    let fingerprints = column!(done, |(_, recorded)| recorded.fingerprint.0.to_vec());
    pipeline.add(sql::ADD_REQUESTS, params![ids, parties, fingerprints, outcomes, rows.decided_at.0]);
    Ok(())
}

/// Adds the audit lines, which are chained later (see `chain`).
fn add_audit(pipeline: &mut Pipeline<'_>, rows: &WorkingSet) {
    if !rows.audit.is_empty() {
        pipeline.add(sql::ADD_AUDIT_LINES, params![column!(rows.audit, audit::line)]);
    }
}

/// Adds the events for wishers, which are expanded into deliveries later. Returns the index of the reply that
/// will hold a row for each event that somebody waits for.
fn add_events(pipeline: &mut Pipeline<'_>, rows: &WorkingSet) -> Result<Option<usize>, Failure> {
    let of_wishers = rows.events.iter().filter_map(|NewEvent { event, audience }| match audience {
        Audience::Wishers(item) => Some((event, rows.items.row(*item)?)),
        Audience::Party(_) => None,
    });
    let events: Vec<(&Event, &Item)> = of_wishers.collect();
    if events.is_empty() {
        return Ok(None);
    }
    let bodies = events.iter().map(|(event, _)| to_json(event)).collect::<Result<Vec<_>, _>>()?;
    let place = pipeline.add(
        sql::ADD_EVENTS,
        params![
            column!(events, |_| rows.decided_at.0),
            bodies,
            column!(events, |(_, item)| item.id.0),
            column!(events, |(event, _)| matches!(event.kind, EventKind::ItemWithdrawn { .. })),
            column!(events, |(_, item)| item.seller.0),
        ],
    );
    Ok(Some(place))
}

/// Adds everything that changes mailboxes. One statement locks all of them first, in key order, so that
/// batches which do different things to the same mailboxes can't deadlock. Returns the index of its reply.
fn add_mailboxes(
    pipeline: &mut Pipeline<'_>,
    rows: &WorkingSet,
    receipt: &mut Receipt,
) -> Result<Option<usize>, Failure> {
    let parties: Vec<&Party> = rows.parties.changes().filter_map(|(_, party)| party).collect();
    let tills: Vec<&Till> = rows.tills.changes().filter_map(|(_, till)| till).collect();
    let removed: Vec<PartyId> = removed_tills(rows).map(TillId::mailbox).collect();
    let recipients = rows.events.iter().filter_map(|new| match new.audience {
        Audience::Party(recipient) => Some(recipient),
        Audience::Wishers(_) => None,
    });
    let locked: BTreeSet<PartyId> =
        parties.iter().map(|party| party.id).chain(removed.iter().copied()).chain(recipients).collect();
    // Parties and removed tills are locked although they get no event: the statements below change their rows.
    let place = (!locked.is_empty())
        .then(|| pipeline.add(sql::LOCK_MAILBOXES, params![column!(locked, |mailbox| mailbox.0)]));
    // The reply has the callbacks from before the batch.
    receipt.has_callback = parties.iter().any(|party| party.open_callback().is_some());
    if !parties.is_empty() {
        pipeline.add(
            sql::OPEN_MAILBOXES,
            params![
                column!(parties, |party| party.id.0),
                column!(parties, |party| party.role.as_str()),
                column!(parties, |party| party.open_callback().map(|callback| callback.host.clone())),
                column!(parties, |party| party.open_callback().map(|callback| i32::from(callback.port))),
            ],
        );
    }
    if !tills.is_empty() {
        // Opening leaves an existing mailbox as it is, so it needs no lock.
        pipeline.add(sql::OPEN_TILLS_MAILBOXES, params![column!(tills, |till| till.id.mailbox().0)]);
    }
    if !removed.is_empty() {
        pipeline.add(sql::END_TILLS_LEASES, params![column!(removed, |mailbox| mailbox.0)]);
    }
    add_deliveries(pipeline, rows, receipt)?;
    Ok(place)
}

/// Adds the deliveries to mailboxes, which are locked by now.
fn add_deliveries(
    pipeline: &mut Pipeline<'_>,
    rows: &WorkingSet,
    receipt: &mut Receipt,
) -> Result<(), Failure> {
    let mut counts: BTreeMap<PartyId, i64> = BTreeMap::new();
    let (mut later, mut deliveries): (BTreeSet<(PartyId, Topic)>, _) = (BTreeSet::new(), Vec::new());
    // In reverse, so that of several events on one topic the last one is kept. The only such events for a
    // single party are test events, which replace each other without being merged (`Event::merge`).
    for NewEvent { event, audience } in rows.events.iter().rev() {
        let Audience::Party(recipient) = *audience else { continue };
        let count = counts.entry(recipient).or_default();
        let behind = *count;
        // Counted even if the event is coalesced away: sequences may have gaps, and the server need not know.
        *count += 1;
        if event.kind.coalesces_by().is_none_or(|topic| later.insert((recipient, topic))) {
            let (content, since) = (Content::Own(to_json(event)?), rows.decided_at.0);
            deliveries.push(NewDelivery { recipient, event, content, behind, since });
        }
    }
    if counts.is_empty() {
        return Ok(());
    }
    receipt.recipients = counts.keys().copied().collect();
    let counts: Vec<_> = counts.into_iter().collect();
    put_deliveries(pipeline, &counts, deliveries, rows.decided_at.0);
    Ok(())
}
