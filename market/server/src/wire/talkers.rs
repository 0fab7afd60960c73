//! Conversion of the market's usage to messages.

use std::{collections::HashMap, net::IpAddr};

use souk_certs::identity::Identity;
use souk_domain::Party;
use souk_proto::v1;
use tonic::Status;
use uuid::Uuid;

use super::{account::duration, parse::Fields};
use crate::observe::{PartyUsage, Top, WINDOW};

/// Number of parties if the caller does not specify it, and the maximum.
const TALKERS: (usize, usize) = (10, 200);

/// Returns how many parties a ListTopTalkers request asks for.
pub fn how_many_talkers(request: &v1::ListTopTalkersRequest) -> Result<usize, Status> {
    let mut fields = Fields::new();
    let limit = fields.limit("limit", request.limit, TALKERS);
    fields.finish(limit)
}

/// Converts the usage of the last minute to its message. `known` has the registered ones of its parties.
pub fn top_talkers(top: &Top, known: &HashMap<Uuid, Party>) -> v1::ListTopTalkersResponse {
    let party = |usage: &PartyUsage| talker(usage, usage.identity.uuid().and_then(|uuid| known.get(&uuid)));
    let stranger = |(address, failed): &(IpAddr, u64)| v1::FailedHandshakes {
        address: address.to_string(),
        failed_handshake_count: count(*failed),
    };
    v1::ListTopTalkersResponse {
        window: Some(duration(WINDOW)),
        parties: top.parties.iter().map(party).collect(),
        strangers: top.strangers.iter().map(stranger).collect(),
    }
}

fn talker(usage: &PartyUsage, party: Option<&Party>) -> v1::PartyUsage {
    let PartyUsage { identity, totals, connections } = usage;
    let role = match identity {
        Identity::Seller(_) => v1::Role::Seller,
        Identity::Buyer(_) => v1::Role::Buyer,
        Identity::Operator(_) => v1::Role::Operator,
        Identity::Market => v1::Role::Market,
        Identity::Authority => v1::Role::Unspecified,
    };
    v1::PartyUsage {
        party_id: identity.uuid().map(|uuid| uuid.to_string()).unwrap_or_default(),
        role: role.into(),
        display_name: party.map(|party| party.display_name.as_str().to_owned()).unwrap_or_default(),
        suspended: party.is_some_and(|party| party.suspension.is_some()),
        call_count: count(totals.calls),
        refused_count: count(totals.refused),
        cpu_time: Some(duration(totals.busy)),
        received_bytes: count(totals.received_bytes),
        sent_bytes: count(totals.sent_bytes),
        connection_count: i32::try_from(*connections).unwrap_or(i32::MAX),
    }
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_has_a_default_and_a_maximum() {
        let ask = |limit| how_many_talkers(&v1::ListTopTalkersRequest { limit });
        assert_eq!([0, 7, 1_000].map(|limit| ask(limit).unwrap()), [10, 7, 200]);
        assert!(ask(-1).is_err());
    }
}
