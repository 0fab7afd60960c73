//! The parties that use this market most.

use std::collections::HashMap;

use souk_domain::PartyId;
use souk_proto::v1;
use tonic::Status;

use super::{Api, read};
use crate::wire;

impl Api {
    /// Returns the parties that use this market most, with their names, and the addresses whose handshakes fail.
    pub(super) async fn list_top_talkers(
        &self,
        request: &v1::ListTopTalkersRequest,
    ) -> Result<v1::ListTopTalkersResponse, Status> {
        let top = self.parts.talkers.top(wire::how_many_talkers(request)?);
        let mut known = HashMap::new();
        for talker in &top.parties {
            let Some(uuid) = talker.identity.uuid() else { continue };
            // A party that has not registered yet has no record, and no operator has one.
            if let Some(party) = read(self.reads().party(PartyId(uuid)).await)? {
                known.insert(uuid, party);
            }
        }
        Ok(wire::top_talkers(&top, &known))
    }
}
