//! RideService: tracking of deliveries.

mod track;
mod watch;

use std::pin::Pin;

use futures::Stream;
use souk_domain::{Refusal, Ride, RideId, Role};
use souk_proto::{
    Reason,
    v1::{self, ride_service_server::RideService},
};
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::{
    Api, read,
    stream::{in_its_own_task, out_of_place, within},
};
use crate::{
    access::Caller,
    wire::{self, command, query},
};
use track::Tracking;

/// The implementation of RideService.
pub struct RideApi(pub Api);

type Watched = Pin<Box<dyn Stream<Item = Result<v1::WatchRideResponse, Status>> + Send>>;

#[async_trait]
impl RideService for RideApi {
    type WatchRideStream = Watched;

    async fn start_ride(
        &self,
        request: Request<v1::StartRideRequest>,
    ) -> Result<Response<v1::StartRideResponse>, Status> {
        let caller = seller(&request)?.clone();
        let ride = self.0.carry_out(&caller, command::start_ride(request.into_inner())?).await?;
        Ok(Response::new(v1::StartRideResponse { ride: Some(wire::ride(&ride)) }))
    }

    async fn track_ride(
        &self,
        request: Request<Streaming<v1::TrackRideRequest>>,
    ) -> Result<Response<v1::TrackRideResponse>, Status> {
        let seller = seller(&request)?.party;
        Tracking::run(self.0.clone(), seller, request.into_inner()).await.map(Response::new)
    }

    async fn watch_ride(
        &self,
        request: Request<v1::WatchRideRequest>,
    ) -> Result<Response<Self::WatchRideStream>, Status> {
        let caller = Caller::of(&request)?.party;
        let (id, cursor) = query::watch_ride(&request.into_inner())?;
        let order = read(self.0.reads().order(id).await)?
            .filter(|order| order.buyer == caller || order.seller == caller)
            .ok_or_else(|| wire::refusal(&Refusal::OrderNotFound(id)))?;
        let ride = order.ride.ok_or_else(|| wire::not_on_a_ride(&order))?;
        Ok(Response::new(Box::pin(watch::positions(self.0.clone(), caller, (ride, id), cursor))))
    }

    async fn end_ride(
        &self,
        request: Request<v1::EndRideRequest>,
    ) -> Result<Response<v1::EndRideResponse>, Status> {
        let caller = seller(&request)?.clone();
        let mut parsed = command::end_ride(request.into_inner())?;
        if let Some(ride) = read(self.0.reads().ride(parsed.action.ride).await)? {
            parsed.action.orders = ride.plan.stops.iter().map(|stop| stop.order).collect();
        }
        let ride = self.0.carry_out(&caller, parsed).await?;
        self.0.parts.rides.notify(ride.id);
        Ok(Response::new(v1::EndRideResponse { ride: Some(wire::ride(&ride)) }))
    }

    async fn list_rides(
        &self,
        request: Request<v1::ListRidesRequest>,
    ) -> Result<Response<v1::ListRidesResponse>, Status> {
        let seller = seller(&request)?.party;
        let (query, page) = query::list_rides(seller, &request.into_inner())?;
        let rides = read(self.0.reads().rides(&query).await)?;
        let (rides, next_page_token) = page.fill(&rides, |ride| ride.id, wire::ride);
        Ok(Response::new(v1::ListRidesResponse { rides, next_page_token }))
    }
}

/// Checks that the caller is a seller. The guard admits roles per service and can't see the method, so methods for
/// sellers only are checked here.
fn seller<T>(request: &Request<T>) -> Result<&Caller, Status> {
    let caller = Caller::of(request)?;
    match caller.role {
        Role::Seller => Ok(caller),
        role @ Role::Buyer => Err(wire::status(
            Reason::RoleDenied,
            "only sellers start, track, end and list rides",
            [("role", role.as_str().to_owned())],
        )),
    }
}

async fn open_ride(api: &Api, id: RideId) -> Result<Ride, Status> {
    read(api.reads().ride(id).await)?.ok_or_else(|| wire::refusal(&Refusal::RideNotFound(id)))
}
