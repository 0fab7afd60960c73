//! The services for tools: health and reflection.

use anyhow::{Context as _, ensure};
use futures::StreamExt as _;
use souk_certs::identity::Role;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use super::{Cast, Log};

pub(super) async fn tour(log: &mut Log, cast: &mut Cast) {
    log.step("the market reports that it is healthy", &[], health(cast)).await;
    log.step("the market describes its services by reflection", &[], reflection(cast)).await;
}

async fn health(cast: &Cast) -> anyhow::Result<()> {
    let channel = cast.market.channel(Role::Buyer, "Bob").await?;
    let request = HealthCheckRequest { service: "shopping.v1.BuyerService".into() };
    let answer = HealthClient::new(channel).check(request).await?.into_inner();
    ensure!(answer.status() == ServingStatus::Serving, "{answer:?}");
    Ok(())
}

async fn reflection(cast: &Cast) -> anyhow::Result<()> {
    let channel = cast.market.channel(Role::Buyer, "Bob").await?;
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let requests = futures::stream::once(std::future::ready(request));
    let mut answers =
        ServerReflectionClient::new(channel).server_reflection_info(requests).await?.into_inner();
    let answer = answers.next().await.context("an answer")??;
    let Some(MessageResponse::ListServicesResponse(listed)) = answer.message_response else {
        anyhow::bail!("{answer:?}")
    };
    let names: Vec<_> = listed.service.iter().map(|service| service.name.as_str()).collect();
    ensure!(names.contains(&"shopping.v1.SellerService"), "{names:?}");
    Ok(())
}
