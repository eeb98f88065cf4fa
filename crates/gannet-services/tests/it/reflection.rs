//! Every question of reflection, over descriptors that are written here by hand.

use std::future::IntoFuture;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gannet::codec::Buffa;
use gannet::server::{Service, Start, Started};
use gannet::services::health::Health;
use gannet::services::reflection::v1::{
    ExtensionRequest, SERVER_REFLECTION, ServerReflectionRequest, ServerReflectionResponse,
};
use gannet::services::reflection::{Reflection, v1alpha};
use gannet::{Channel, Code, Inbound, Outbound, Server, ServiceDescriptor, pipe};

use gannet::services::reflection::v1::server_reflection_request::MessageRequest as Question;
use gannet::services::reflection::v1::server_reflection_response::MessageResponse as Answer;

/// One conversation.
struct Asking {
    requests: Outbound<ServerReflectionRequest>,
    replies: Inbound<ServerReflectionResponse>,
}

/// What an answer comes to.
#[derive(Debug, PartialEq)]
enum Told {
    /// Names of files, in their order.
    Files(Vec<String>),
    Numbers(String, Vec<i32>),
    Services(Vec<String>),
    Error(i32),
}

async fn ask(reflection: &Reflection, service: &'static ServiceDescriptor) -> Asking {
    let server =
        Server::new().add(Health::new().server()).add(reflection.v1()).add(reflection.v1alpha());
    ask_by(server, service).await
}

async fn ask_server(server: Server) -> Asking {
    ask_by(server, &SERVER_REFLECTION).await
}

async fn ask_by(server: Server, service: &'static ServiceDescriptor) -> Asking {
    let (connector, listener) = pipe();
    tokio::spawn(server.serve(listener).into_future());
    let channel = Channel::builder_with_connector(connector).build().unwrap();
    let (requests, replies) =
        channel.bidi_streaming::<Buffa, _, _>(&service.methods[0]).await.unwrap();
    Asking { requests, replies }
}

impl Asking {
    async fn answer(&mut self, question: Option<Question>) -> Answer {
        let request = ServerReflectionRequest {
            host: "a host".to_owned(),
            message_request: question,
            ..Default::default()
        };
        self.requests.send(request.clone()).await.unwrap();
        let reply = self.replies.next().await.unwrap().unwrap();
        assert_eq!(reply.valid_host, "a host");
        assert_eq!(reply.original_request.as_option(), Some(&request));
        reply.message_response.unwrap()
    }

    /// The files of an answer, encoded.
    async fn files(&mut self, question: Question) -> Vec<Vec<u8>> {
        match self.answer(Some(question)).await {
            Answer::FileDescriptorResponse(files) => {
                files.file_descriptor_proto.iter().map(|file| file.to_vec()).collect()
            }
            other => panic!("no files: {other:?}"),
        }
    }

    async fn ask(&mut self, question: Option<Question>) -> Told {
        match self.answer(question).await {
            Answer::FileDescriptorResponse(files) => {
                let files = files.file_descriptor_proto.iter();
                Told::Files(files.map(|file| name_of(file)).collect())
            }
            Answer::AllExtensionNumbersResponse(numbers) => {
                Told::Numbers(numbers.base_type_name, numbers.extension_number)
            }
            Answer::ListServicesResponse(services) => {
                Told::Services(services.service.into_iter().map(|it| it.name).collect())
            }
            Answer::ErrorResponse(error) => {
                assert!(!error.error_message.is_empty());
                Told::Error(error.error_code)
            }
        }
    }

    async fn file(&mut self, name: &str) -> Told {
        self.ask(Some(Question::FileByFilename(name.to_owned()))).await
    }

    async fn symbol(&mut self, name: &str) -> Told {
        self.ask(Some(Question::FileContainingSymbol(name.to_owned()))).await
    }

    async fn extension(&mut self, message: &str, number: i32) -> Told {
        let asked = ExtensionRequest {
            containing_type: message.to_owned(),
            extension_number: number,
            ..Default::default()
        };
        self.ask(Some(asked.into())).await
    }

    async fn numbers(&mut self, message: &str) -> Told {
        self.ask(Some(Question::AllExtensionNumbersOfType(message.to_owned()))).await
    }

    async fn list(&mut self) -> Told {
        self.ask(Some(Question::ListServices("*".to_owned()))).await
    }
}

/// The name of an encoded file, which is its first field here.
fn name_of(file: &[u8]) -> String {
    assert_eq!(file[0], 0x0a);
    String::from_utf8(file[2..2 + usize::from(file[1])].to_vec()).unwrap()
}

/// A field that holds bytes.
fn field(number: u8, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    let mut out = vec![number << 3 | 2];
    let mut length = value.len();
    while length >= 0x80 {
        out.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).unwrap());
    out.extend_from_slice(value);
    out
}

fn named(name: &str, parts: &[Vec<u8>]) -> Vec<u8> {
    [field(1, name), parts.concat()].concat()
}

fn extension(name: &str, message: &str, number: u8) -> Vec<u8> {
    named(name, &[field(2, message), vec![0x18, number]])
}

fn set(files: &[Vec<u8>]) -> Vec<u8> {
    files.iter().flat_map(|file| field(1, file)).collect()
}

fn told(names: &[&str]) -> Told {
    Told::Files(names.iter().map(|&name| name.to_owned()).collect())
}

/// `a` imports `b` and `c`, which imports `b`, and a file that is not there.
fn files() -> [Vec<u8>; 3] {
    let inner = named("Inner", &[field(4, named("Kind", &[field(2, named("KIND_NONE", &[]))]))]);
    let message = named(
        "M",
        &[
            field(2, named("name", &[])),
            field(3, inner),
            field(6, extension("nested", ".b.Base", 101)),
            field(8, named("choice", &[])),
        ],
    );
    let service = named("S", &[field(2, named("Do", &[]))]);
    let a = named(
        "a.proto",
        &[
            field(2, "a.pkg"),
            field(3, "b.proto"),
            field(3, "c.proto"),
            field(4, message),
            field(5, named("E", &[field(2, named("E_NONE", &[]))])),
            field(6, service),
            field(7, extension("far", ".b.Base", 100)),
        ],
    );
    let b = named("b.proto", &[field(2, "b"), field(4, named("Base", &[]))]);
    let c = named(
        "c.proto",
        &[field(3, "b.proto"), field(3, "gone.proto"), field(4, named("Lone", &[]))],
    );
    [a, b, c]
}

#[tokio::test(start_paused = true)]
async fn a_server_needs_nothing_but_the_service() {
    let reflection = Reflection::new();
    for service in [&SERVER_REFLECTION, &v1alpha::SERVER_REFLECTION] {
        let mut asking = ask(&reflection, service).await;
        let services = [
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
        ];
        let services = services.map(str::to_owned).into();
        assert_eq!(asking.list().await, Told::Services(services));
        let health = told(&["grpc/health/v1/health.proto"]);
        assert_eq!(asking.symbol("grpc.health.v1.Health").await, health);
        assert_eq!(asking.symbol("grpc.health.v1.Health.Watch").await, health);
        assert_eq!(asking.file("grpc/health/v1/health.proto").await, health);
        let reflection = told(&["grpc/reflection/v1alpha/reflection.proto"]);
        let symbol = "grpc.reflection.v1alpha.ServerReflectionRequest.list_services";
        assert_eq!(asking.symbol(symbol).await, reflection);
    }
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_symbol_is_found() {
    let builder = Reflection::builder().register(set(&files())).list("a.pkg.S");
    let reflection = builder.build().unwrap();
    for symbol in [
        "a.pkg.M",
        "a.pkg.M.name",
        "a.pkg.M.choice",
        "a.pkg.M.nested",
        "a.pkg.M.Inner",
        "a.pkg.M.Inner.Kind",
        "a.pkg.M.Inner.KIND_NONE",
        "a.pkg.E",
        "a.pkg.E_NONE",
        "a.pkg.S",
        "a.pkg.S.Do",
        "a.pkg.far",
    ] {
        let mut asking = ask(&reflection, &SERVER_REFLECTION).await;
        let all = told(&["a.proto", "b.proto", "c.proto"]);
        assert_eq!(asking.symbol(symbol).await, all, "{symbol}");
    }
    let mut asking = ask(&reflection, &SERVER_REFLECTION).await;
    for symbol in ["", "a", "a.pkg", "M", "a.pkg.m", "a.pkg.M.Inner.Kind.KIND_NONE", "a.pkg.S.do"] {
        assert_eq!(asking.symbol(symbol).await, Told::Error(Code::NotFound as i32), "{symbol}");
    }
    assert_eq!(asking.symbol("Lone").await, told(&["c.proto", "b.proto"]));
    let Told::Services(services) = asking.list().await else { panic!("no list") };
    assert!(services.contains(&"a.pkg.S".to_owned()) && services.len() == 4);
}

#[tokio::test(start_paused = true)]
async fn files_that_were_sent_are_not_sent_again_unless_asked_for() {
    let reflection = Reflection::builder().register(set(&files())).build().unwrap();
    let mut asking = ask(&reflection, &SERVER_REFLECTION).await;
    assert_eq!(asking.file("b.proto").await, told(&["b.proto"]));
    assert_eq!(asking.file("a.proto").await, told(&["a.proto", "c.proto"]));
    assert_eq!(asking.file("a.proto").await, told(&["a.proto"]));
    assert_eq!(asking.file("b.proto").await, told(&["b.proto"]));
    assert_eq!(asking.file("gone.proto").await, Told::Error(Code::NotFound as i32));
}

#[tokio::test(start_paused = true)]
async fn extensions_are_found_by_message_and_number() {
    let [a, b, c] = files();
    let builder = Reflection::builder().register(set(&[b])).register(set(&[c, a]));
    let mut asking = ask(&builder.build().unwrap(), &SERVER_REFLECTION).await;
    let numbers = Told::Numbers("b.Base".to_owned(), vec![100, 101]);
    assert_eq!(asking.numbers("b.Base").await, numbers);
    assert_eq!(asking.numbers("Lone").await, Told::Numbers("Lone".to_owned(), vec![]));
    let not_found = Told::Error(Code::NotFound as i32);
    // A symbol, and no message.
    assert_eq!(asking.numbers("a.pkg.E").await, not_found);
    assert_eq!(asking.numbers("b.Nothing").await, not_found);
    assert_eq!(asking.extension("b.Base", 102).await, not_found);
    assert_eq!(asking.extension("b.Other", 100).await, not_found);
    let all = told(&["a.proto", "b.proto", "c.proto"]);
    assert_eq!(asking.extension("b.Base", 101).await, all);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_is_none_is_answered_and_the_stream_goes_on() {
    let mut asking = ask(&Reflection::new(), &SERVER_REFLECTION).await;
    assert_eq!(asking.ask(None).await, Told::Error(Code::InvalidArgument as i32));
    assert!(matches!(asking.list().await, Told::Services(_)));
    asking.requests.finish();
    assert!(asking.replies.next().await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn questions_whose_answers_are_not_read_are_read_no_further() {
    let reflection = Reflection::builder().register(set(&files())).build().unwrap();
    let mut asking = ask(&reflection, &SERVER_REFLECTION).await;
    // Each answer has its question in it.
    let name = "n".repeat(1_000);
    let question = || ServerReflectionRequest {
        message_request: Some(Question::FileByFilename(name.clone())),
        ..Default::default()
    };
    let mut asked = 0;
    let wait = Duration::from_secs(60);
    while let Ok(sent) = tokio::time::timeout(wait, asking.requests.send(question())).await {
        sent.unwrap();
        asked += 1;
        assert!(asked < 20_000, "the server reads on");
    }
    let answers = &mut asking.replies;
    for _ in 0..asked {
        let Answer::ErrorResponse(error) =
            answers.next().await.unwrap().unwrap().message_response.unwrap()
        else {
            panic!("a file of this name");
        };
        assert_eq!(error.error_code, Code::NotFound as i32);
    }
    assert_eq!(asking.file("b.proto").await, told(&["b.proto"]));
}

#[test]
fn sets_that_are_none_are_refused() {
    for bad in [&b"\x0a"[..], b"\x0a\x05\x22\x03\x0a\x05a", b"\x0a\x04\x0a\x02\xff\xff", b"\x0f"] {
        let error = Reflection::builder().register(b"".to_vec()).register(bad).build().unwrap_err();
        assert!(error.to_string().contains("set 2 is not an encoded"), "{error}");
    }
    // A message within itself, without end.
    let deepest = (0..200).fold(named("D", &[]), |inner, _| named("D", &[field(3, inner)]));
    let deep = set(&[named("deep.proto", &[field(4, deepest)])]);
    assert!(Reflection::builder().register(deep).build().is_err());
}

#[test]
fn files_of_one_name_must_be_one_file() {
    let [a, b, _] = files();
    let twice = Reflection::builder().register(set(&[a.clone(), b.clone()])).register(set(&[a, b]));
    twice.build().unwrap();
    let other = named("b.proto", &[field(2, "other"), field(4, named("Base", &[]))]);
    let [_, b, _] = files();
    let [first, second] = [&b, &other].map(|file| set(std::slice::from_ref(file)));
    let error =
        Reflection::builder().register(first).register(second).build().unwrap_err().to_string();
    assert!(error.contains("set 2 has a file \"b.proto\""), "{error}");
    let error = Reflection::builder().register(set(&[b, other])).build().unwrap_err().to_string();
    assert!(error.contains("set 1 has a file \"b.proto\""), "{error}");
}

/// A service that is only described.
struct Described(&'static ServiceDescriptor);

impl Service for Described {
    fn descriptor(&self) -> &'static ServiceDescriptor {
        self.0
    }

    fn call(&self, _: usize, start: Start<'_>) -> Started {
        start.unimplemented()
    }
}

fn described(name: &'static str, files: &[Vec<u8>]) -> Described {
    let set = set(files).leak();
    let service = ServiceDescriptor::new(name, &[]).with_file_descriptor_set(set);
    Described(Box::leak(Box::new(service)))
}

/// Asks a server with these services, and tells what its hook was told.
async fn ask_of(services: Vec<Described>) -> (Asking, Vec<String>) {
    let problems = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&problems);
    let reflection = Reflection::builder()
        .on_problem(move |error| told.lock().unwrap().push(error.to_string()))
        .build()
        .unwrap();
    let server = Server::new().add(reflection.v1()).add(reflection.v1alpha());
    let asking = ask_server(services.into_iter().fold(server, Server::add)).await;
    let problems = problems.lock().unwrap().clone();
    (asking, problems)
}

fn main_file(package: &str, file: &str, service: &str) -> Vec<u8> {
    let service = named(service, &[]);
    named(file, &[field(2, package), field(3, "common.proto"), field(6, service)])
}

fn common(package: &str, messages: &[&str]) -> Vec<u8> {
    let messages: Vec<_> = messages.iter().map(|name| field(4, named(name, &[]))).collect();
    named("common.proto", &[field(2, package), messages.concat()])
}

#[tokio::test(start_paused = true)]
async fn services_of_different_files_of_one_name_are_each_described_by_their_own() {
    let of = |name: &'static str, package: &str, service: &str| {
        let file = main_file(package, "service.proto", service);
        described(name, &[common(package, &["M"]), file])
    };
    let (mut asking, problems) = ask_of(vec![of("a.A", "a", "A"), of("b.B", "b", "B")]).await;
    let Told::Services(services) = asking.list().await else { panic!("no list") };
    assert!(["a.A", "b.B"].iter().all(|name| services.iter().any(|it| it == name)), "{services:?}");
    for package in ["a", "b"] {
        let symbol = format!("{package}.{}", package.to_uppercase());
        let files = asking.files(Question::FileContainingSymbol(symbol)).await;
        // The service's own file, with the common one of its own package.
        let expected =
            [main_file(package, "service.proto", &package.to_uppercase()), common(package, &["M"])];
        assert_eq!(files, expected);
        let message = asking.files(Question::FileContainingSymbol(format!("{package}.M"))).await;
        assert_eq!(message, [common(package, &["M"])]);
    }
    let named = asking.files(Question::FileByFilename("service.proto".to_owned())).await;
    assert_eq!(named, [main_file("a", "service.proto", "A")]);
    // Two servers of reflection, and each thing is told once.
    assert_eq!(problems.len(), 2, "{problems:#?}");
    for (problem, file) in problems.iter().zip(["common.proto", "service.proto"]) {
        let said = format!("the set of service b.B has a file {file:?} that declares other things");
        assert!(problem.starts_with(&said), "{problem}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_older_copy_of_a_shared_file_gives_way_whichever_comes_first() {
    for newer_first in [false, true] {
        let older = described("a.A", &[common("c", &["Old"]), main_file("a", "a.proto", "A")]);
        let newer =
            described("b.B", &[common("c", &["Old", "New"]), main_file("b", "b.proto", "B")]);
        let services = if newer_first { vec![newer, older] } else { vec![older, newer] };
        let (mut asking, problems) = ask_of(services).await;
        assert!(problems.is_empty(), "{problems:#?}");
        let shared = common("c", &["Old", "New"]);
        for symbol in ["c.Old", "c.New"] {
            let files = asking.files(Question::FileContainingSymbol(symbol.to_owned())).await;
            assert_eq!(files, std::slice::from_ref(&shared), "{symbol}");
        }
        assert_eq!(asking.symbol("a.A").await, told(&["a.proto"]));
        assert_eq!(asking.symbol("b.B").await, told(&["b.proto"]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_differs_is_one_for_all_sets_that_have_it() {
    let with = |name: &'static str, package: &str, messages: &[&str]| {
        let (file, service) = (format!("{package}.proto"), package.to_uppercase());
        described(name, &[common("c", messages), main_file(package, &file, &service)])
    };
    let services = vec![
        with("a.A", "a", &["One"]),
        with("b.B", "b", &["Two"]),
        with("d.D", "d", &["Two", "Three"]),
    ];
    let (mut asking, problems) = ask_of(services).await;
    assert_eq!(problems.len(), 2, "{problems:#?}");
    let other = common("c", &["Two", "Three"]);
    let files = asking.files(Question::FileContainingSymbol("b.B".to_owned())).await;
    assert_eq!(files, [main_file("b", "b.proto", "B"), other]);
    // It has been sent, as that of both.
    assert_eq!(asking.symbol("d.D").await, told(&["d.proto"]));
    assert_eq!(asking.symbol("a.A").await, told(&["a.proto", "common.proto"]));
}

#[tokio::test(start_paused = true)]
async fn a_service_whose_set_is_none_is_listed_and_told_of() {
    let none: &'static ServiceDescriptor =
        Box::leak(Box::new(ServiceDescriptor::new("a.A", &[]).with_file_descriptor_set(b"\x0f")));
    let (mut asking, problems) = ask_of(vec![Described(none)]).await;
    let Told::Services(services) = asking.list().await else { panic!("no list") };
    assert!(services.contains(&"a.A".to_owned()), "{services:?}");
    let [problem] = &*problems else { panic!("{problems:#?}") };
    assert!(problem.starts_with("the set of service a.A is not an encoded"), "{problem}");
}

#[test]
fn of_two_registered_files_the_one_that_declares_more_counts() {
    let sets = [&["Old"][..], &["Old", "New"]].map(|names| set(&[common("c", names)]));
    let [older, newer] = sets;
    for [first, second] in [[&older, &newer], [&newer, &older]] {
        let builder = Reflection::builder().register(first.clone()).register(second.clone());
        builder.build().unwrap();
    }
}

#[test]
fn what_two_files_declare_is_the_first_ones_however_often_they_are_registered() {
    let [first, second] =
        ["1.proto", "2.proto"].map(|name| named(name, &[field(4, named("M", &[]))]));
    let both = set(&[first, second]);
    Reflection::builder().register(both.clone()).register(both).build().unwrap();
}
