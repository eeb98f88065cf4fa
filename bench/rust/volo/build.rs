//! Generates both services.

fn main() {
    for (file, generated) in [("grpctest", "grpctest.rs"), ("echo", "echo.rs")] {
        println!("cargo::rerun-if-changed=../../proto/{file}.proto");
        volo_build::Builder::protobuf()
            .include_dirs(vec!["../../proto".into()])
            .add_service(format!("../../proto/{file}.proto"))
            .filename(generated.into())
            .write()
            .expect("the files are there and without mistakes");
    }
}
