//! Any bytes, in any pieces, into a server and into a client.
//!
//! The first bytes choose: the role, whether preface and SETTINGS come for free, and the pieces.
#![no_main]

use gannet_fuzz::{Verb, World, config};
use gannet_http2::{Client, Role, Server};
use libfuzzer_sys::fuzz_target;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS_AND_ACK: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0];

fuzz_target!(|input: &[u8]| {
    let [mode, piece, bytes @ ..] = input else { return };
    let piece = usize::from(*piece) + 1;
    let started = mode & 1 == 0;
    if mode & 2 == 0 {
        let mut world: World<Server> = World::new(config());
        if started {
            world.read(PREFACE);
            world.read(SETTINGS_AND_ACK);
        }
        run(world, bytes, piece, |world, turn| {
            world.act_server(&Verb::Unary { stream: turn, len: 100 });
        });
    } else {
        let mut world: World<Client> = World::new(config());
        for _ in 0..4 {
            world.act_client(&Verb::Open { end: false });
        }
        if started {
            world.read(SETTINGS_AND_ACK);
        }
        run(world, bytes, piece, |world, turn| {
            world.act_client(&Verb::Data { stream: turn, len: 100, shared: false, end: false });
        });
    }
});

fn run<R: Role>(
    mut world: World<R>,
    bytes: &[u8],
    piece: usize,
    mut act: impl FnMut(&mut World<R>, u8),
) {
    for (turn, piece) in (0_u8..=255).cycle().zip(bytes.chunks(piece)) {
        world.read(piece);
        if turn % 4 == 3 {
            act(&mut world, turn);
            world.act(&Verb::Release);
            world.transmit();
        }
    }
    world.finish();
}
