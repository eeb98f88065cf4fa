//! Generates Gannet code from a build script: a thin wrapper around gannet-codegen.
