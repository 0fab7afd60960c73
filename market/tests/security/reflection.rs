//! Reflection: what it describes, and that no question ends its stream.

use std::collections::BTreeSet;

use futures::stream;
use prost::Message as _;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use tonic::{Code, Request};
use tonic_reflection::pb::{v1, v1alpha};
use v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::fixture::{Fixture, attacks};

attacks!(
    unknown_symbols_are_answered_and_the_stream_goes_on,
    every_file_comes_with_those_that_it_imports,
    error_details_are_described,
    older_version_answers_unknown_symbols_too,
);

async fn ask(fixture: &Fixture, questions: Vec<MessageRequest>) -> Vec<MessageResponse> {
    let mut client = ServerReflectionClient::new(fixture.channel().await);
    let requests = questions
        .into_iter()
        .map(|question| ServerReflectionRequest { message_request: Some(question), ..Default::default() });
    let mut answers =
        client.server_reflection_info(Request::new(stream::iter(requests))).await.unwrap().into_inner();
    let mut all = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        all.push(answer.message_response.unwrap());
    }
    all
}

fn file(answer: &MessageResponse) -> FileDescriptorProto {
    let MessageResponse::FileDescriptorResponse(files) = answer else { panic!("{answer:?}") };
    FileDescriptorProto::decode(&*files.file_descriptor_proto[0]).unwrap()
}

async fn unknown_symbols_are_answered_and_the_stream_goes_on(fixture: &Fixture) {
    let symbol = |name: &str| MessageRequest::FileContainingSymbol(name.to_owned());
    let answers = ask(
        fixture,
        vec![
            symbol("shopping.v1.Nothing"),
            MessageRequest::FileByFilename("nothing.proto".to_owned()),
            MessageRequest::AllExtensionNumbersOfType("shopping.v1.Nothing".to_owned()),
            symbol("shopping.v1.BuyerService.BuyItem"),
        ],
    )
    .await;
    for answer in &answers[..3] {
        let MessageResponse::ErrorResponse(error) = answer else { panic!("{answer:?}") };
        assert_eq!(error.error_code, i32::from(Code::NotFound));
        assert!(error.error_message.contains("othing"), "{}", error.error_message);
    }
    assert_eq!(file(&answers[3]).name(), "shopping/v1/buyer_service.proto");
}

async fn every_file_comes_with_those_that_it_imports(fixture: &Fixture) {
    let services = ask(fixture, vec![MessageRequest::ListServices(String::new())]).await;
    let MessageResponse::ListServicesResponse(services) = &services[0] else { panic!("{services:?}") };
    assert!(services.service.iter().any(|service| service.name == "shopping.v1.BuyerService"));
    let own = FileDescriptorSet::decode(souk_proto::FILE_DESCRIPTOR_SET).unwrap().file;
    let mut known: BTreeSet<String> = own.iter().map(|file| file.name().to_owned()).collect();
    known.insert("google/rpc/error_details.proto".to_owned());
    known.insert("google/rpc/status.proto".to_owned());
    let mut asked = BTreeSet::new();
    while let Some(name) = known.difference(&asked).next().cloned() {
        let answer = ask(fixture, vec![MessageRequest::FileByFilename(name.clone())]).await;
        known.extend(file(&answer[0]).dependency);
        asked.insert(name);
    }
}

async fn error_details_are_described(fixture: &Fixture) {
    for message in ["ErrorInfo", "RetryInfo", "BadRequest", "BadRequest.FieldViolation", "Status"] {
        let name = format!("google.rpc.{message}");
        let answer = ask(fixture, vec![MessageRequest::FileContainingSymbol(name)]).await;
        assert!(file(&answer[0]).name().starts_with("google/rpc/"), "{message}");
    }
}

async fn older_version_answers_unknown_symbols_too(fixture: &Fixture) {
    use v1alpha::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let requests = ["shopping.v1.Nothing", "shopping.v1.Money"].map(|name| ServerReflectionRequest {
        message_request: Some(MessageRequest::FileContainingSymbol(name.to_owned())),
        ..Default::default()
    });
    let mut client = ServerReflectionClient::new(fixture.channel().await);
    let mut answers = client.server_reflection_info(stream::iter(requests)).await.unwrap().into_inner();
    let first = answers.message().await.unwrap().unwrap().message_response;
    assert!(matches!(first, Some(MessageResponse::ErrorResponse(_))), "{first:?}");
    let second = answers.message().await.unwrap().unwrap().message_response;
    assert!(matches!(second, Some(MessageResponse::FileDescriptorResponse(_))), "{second:?}");
}
