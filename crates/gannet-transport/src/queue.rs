//! The one lock-free queue by which other tasks reach a connection (design rule 1).
//!
//! Push, then wake the connection's task only if it sleeps. It does not bound itself: whoever
//! pushes is bounded by the per-call accounting in [`CallShared`](crate::CallShared).
//!
//! Sleeping protocol: the driver registers its waker, sets `sleeping`, and looks at the queue once
//! more; a pusher pushes first and reads `sleeping` second. Both sides put a sequentially
//! consistent fence between the two steps, so at least one of them sees the other.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use atomic_waker::AtomicWaker;
use crossbeam_queue::SegQueue;

use crate::call::CallShared;
use crate::rouser::Rouse;

/// What other tasks ask of a connection; `X` is what only one of the two roles knows.
pub enum Command<X> {
    /// One of the connection's calls asks for something. At most one waits per call.
    Call(Arc<CallShared>),
    /// Role-specific, for instance a client's "start this call".
    Side(X),
    /// Begin a graceful end: GOAWAY, finish the open streams, close.
    Drain,
    /// End now: every call fails, the socket closes after one last attempt to write.
    Abort,
}

impl<X> fmt::Debug for Command<X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::Call(_) => f.write_str("Call"),
            Command::Side(_) => f.write_str("Side"),
            Command::Drain => f.write_str("Drain"),
            Command::Abort => f.write_str("Abort"),
        }
    }
}

/// The queue of one connection: many pushers, one popping driver.
pub struct Queue<X> {
    /// Made by the first push: a server's connection whose calls are unary and run inline never has
    /// any, and it is large.
    commands: OnceLock<Box<SegQueue<Command<X>>>>,
    sleeping: AtomicBool,
    closed: AtomicBool,
    /// The driver is to look at the time.
    roused: AtomicBool,
    waker: AtomicWaker,
}

impl<X> Queue<X> {
    /// An empty queue whose driver does not run yet.
    pub fn new() -> Self {
        Queue {
            commands: OnceLock::new(),
            sleeping: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            roused: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    /// Appends a command and wakes the driver if it sleeps.
    ///
    /// After the connection ended the command is dropped; a command whose loss somebody must notice
    /// says so in its `Drop`.
    pub fn push(&self, command: Command<X>) {
        self.commands.get_or_init(Box::default).push(command);
        self.wake();
        if self.closed.load(Ordering::Relaxed) {
            self.discard();
        }
    }

    /// Wakes the driver if it sleeps: after what it is woken for was stored.
    fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Whether the driver was roused since it asked last. Only the driver calls this.
    #[inline]
    pub(crate) fn take_roused(&self) -> bool {
        self.roused.load(Ordering::Relaxed) && self.roused.swap(false, Ordering::Relaxed)
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Whether nothing waits.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.commands.get().is_none_or(|commands| commands.is_empty())
    }

    /// Takes the oldest command. Only the driver calls this.
    pub(crate) fn pop(&self) -> Option<Command<X>> {
        // Looking is cheaper than trying.
        let commands = self.commands.get()?;
        if commands.is_empty() { None } else { commands.pop() }
    }

    /// Goes to sleep: returns false, and stays awake, where a command came in meanwhile, or it was
    /// roused.
    pub(crate) fn sleep(&self, waker: &Waker) -> bool {
        self.waker.register(waker);
        self.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.is_empty() && !self.roused.load(Ordering::Relaxed) {
            return true;
        }
        self.sleeping.store(false, Ordering::Relaxed);
        false
    }

    /// The driver runs: pushers need not wake it. Returns whether one of them did.
    pub(crate) fn awake(&self) -> bool {
        let woke_by_itself = self.sleeping.load(Ordering::Relaxed);
        if woke_by_itself {
            self.sleeping.store(false, Ordering::Relaxed);
        }
        !woke_by_itself
    }

    /// Ends the queue: drops what waits, and everything pushed from now on.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
        self.discard();
    }

    fn discard(&self) {
        while let Some(command) = self.pop() {
            drop(command);
        }
    }
}

impl<X: Send> Rouse for Queue<X> {
    fn rouse(&self) {
        self.roused.store(true, Ordering::Relaxed);
        self.wake();
    }
}

impl<X> Default for Queue<X> {
    fn default() -> Self {
        Self::new()
    }
}

impl<X> fmt::Debug for Queue<X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("waiting", &self.commands.get().map_or(0, |commands| commands.len()))
            .field("sleeping", &self.sleeping)
            .field("closed", &self.closed)
            .finish()
    }
}

/// A [`Queue`] as a call sees it, without the role-specific type.
pub trait CallQueue: Send + Sync {
    /// Tells that `call` asks for something.
    fn push_call(&self, call: &Arc<CallShared>);
    /// Whether the connection has ended.
    fn is_closed(&self) -> bool;
    /// Where the connection leads to, for what a client's call tells.
    fn address(&self) -> Option<&str> {
        None
    }
}

impl<X: Send> CallQueue for Queue<X> {
    fn push_call(&self, call: &Arc<CallShared>) {
        self.push(Command::Call(Arc::clone(call)));
    }

    fn is_closed(&self) -> bool {
        Queue::is_closed(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn only_a_sleeper_is_woken_and_only_once() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let queue = Queue::<()>::new();
        queue.push(Command::Drain);
        assert!(!queue.sleep(&waker), "a command waits");
        assert!(matches!(queue.pop(), Some(Command::Drain)));
        assert!(queue.sleep(&waker));
        queue.push(Command::Drain);
        queue.push(Command::Abort);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(queue.pop().is_some() && queue.pop().is_some() && queue.pop().is_none());
    }

    #[test]
    fn who_is_roused_does_not_sleep_before_it_knows() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let queue = Queue::<()>::new();
        queue.rouse();
        assert!(!queue.sleep(&waker));
        assert!(queue.take_roused() && !queue.take_roused());
        assert!(queue.sleep(&waker));
        queue.rouse();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(queue.take_roused());
    }

    #[test]
    fn a_closed_queue_drops_what_comes() {
        struct Told(Arc<AtomicUsize>);
        impl Drop for Told {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let dropped = Arc::new(AtomicUsize::new(0));
        let queue = Queue::new();
        queue.push(Command::Side(Told(Arc::clone(&dropped))));
        queue.close();
        queue.push(Command::Side(Told(Arc::clone(&dropped))));
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
        assert!(queue.is_closed() && queue.pop().is_none());
    }

    #[test]
    fn no_wake_is_lost_between_threads() {
        let queue = Arc::new(Queue::<usize>::new());
        let pusher = Arc::clone(&queue);
        let pushed = 20_000;
        let thread = std::thread::spawn(move || {
            for n in 0..pushed {
                pusher.push(Command::Side(n));
            }
        });
        struct Unpark(std::thread::Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut want = 0;
        while want < pushed {
            while let Some(Command::Side(n)) = queue.pop() {
                assert_eq!(n, want);
                want += 1;
            }
            if want < pushed && queue.sleep(&waker) {
                std::thread::park();
                queue.awake();
            }
        }
        thread.join().unwrap();
    }
}
