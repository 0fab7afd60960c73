//! Rides: starting one ships its orders, ending it delivers them.

use super::{Decision, Effect, Rules, trade::needs};
use crate::{
    Audience, EventKind, Invalid, Order, OrderStatus, Party, Refusal, Ride, RideId, RideKind, RidePlan,
};

impl Rules<'_, '_> {
    /// Starts a ride with some of the caller's orders. Either all of them are shipped or none.
    pub(super) fn start_ride(&mut self, caller: &Party, plan: &RidePlan) -> Result<Decision<Ride>, Refusal> {
        let id = RideId((self.context.event_ids)().0);
        let mut orders = Vec::with_capacity(plan.stops.len());
        for stop in &plan.stops {
            let order = self.order(stop.order, |order| order.seller == caller.id)?;
            needs(&order, OrderStatus::Placed)?;
            if orders.iter().any(|other: &Order| other.id == order.id) {
                // The status check does not notice this: until the effects are applied, the order is still
                // placed.
                return Err(stops("name an order twice; name each once"));
            }
            orders.push(order);
        }
        let is_one_buyers = orders.windows(2).all(|pair| pair[0].buyer == pair[1].buyer);
        if plan.kind == RideKind::Regular && !is_one_buyers {
            return Err(stops("are of several buyers; start a pooled ride, or one for each"));
        }
        let ride =
            Ride { id, seller: caller.id, plan: plan.clone(), started_at: self.context.now, ended_at: None };
        let mut effects = vec![Effect::PutRide(ride.clone())];
        for mut order in orders {
            order.status = OrderStatus::Shipped;
            order.shipped_at = Some(self.context.now);
            // The buyer finds the ride through the order.
            order.ride = Some(id);
            let event = EventKind::OrderShipped { order: order.clone() };
            let event = self.event(Audience::Party(order.buyer), event);
            effects.extend([Effect::PutOrder(order), Effect::Emit(event)]);
        }
        Ok(Decision { outcome: ride, effects })
    }

    /// Ends one of the caller's rides and marks the orders still in transit as delivered.
    pub(super) fn end_ride(&mut self, caller: &Party, id: RideId) -> Result<Decision<Ride>, Refusal> {
        let found = self.rows.rides.row(id).filter(|ride| ride.seller == caller.id);
        let mut ride = found.cloned().ok_or(Refusal::RideNotFound(id))?;
        // A replay of the same request never gets here: it returns the stored outcome before any rule runs.
        if ride.ended_at.is_some() {
            return Err(Refusal::RideEnded(id));
        }
        ride.ended_at = Some(self.context.now);
        let mut effects = vec![Effect::PutRide(ride.clone())];
        for stop in &ride.plan.stops {
            // Cannot be missing, since the orders of a ride under way are never archived. If it were, ending the
            // ride for the others matters more.
            let Some(mut order) = self.rows.orders.row(stop.order).cloned() else { continue };
            if order.status != OrderStatus::Shipped {
                // Delivered on its own during the ride.
                continue;
            }
            order.status = OrderStatus::Delivered;
            order.delivered_at = Some(self.context.now);
            let event = EventKind::OrderDelivered { order: order.clone() };
            let event = self.event(Audience::Party(order.buyer), event);
            effects.extend([Effect::PutOrder(order), Effect::Emit(event)]);
        }
        Ok(Decision { outcome: ride, effects })
    }
}

fn stops(problem: &'static str) -> Refusal {
    Refusal::InvalidField { field: "stops", problem: Invalid::new(problem) }
}
