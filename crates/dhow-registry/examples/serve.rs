//! A registry alone, without the rest of the binary: `cargo run -p dhow-registry --example serve -- --root DIR`.

use clap::Parser;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    serve: dhow_registry::ServeArgs,
}

#[tokio::main]
async fn main() -> Result<(), dhow_registry::ServeError> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    dhow_registry::serve(Arguments::parse().serve).await
}
