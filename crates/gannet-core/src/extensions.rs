//! [`Extensions`]: values of any type that travel beside a call, and are never sent.
//!
//! What one layer finds out, such as who the caller is, another one asks for by its type. Few at a
//! time, so they are searched one by one; an empty list owns no memory.

use std::any::{Any, TypeId, type_name};
use std::fmt;
use std::sync::Arc;

/// Values that belong to a call, at most one of each type.
///
/// ```
/// # use gannet_core::Extensions;
/// #[derive(Debug, PartialEq)]
/// struct User(String);
///
/// let mut extensions = Extensions::new();
/// extensions.insert(User("ada".into()));
/// assert_eq!(extensions.get::<User>(), Some(&User("ada".into())));
/// assert_eq!(extensions.get::<u32>(), None);
/// ```
///
/// Cloning shares the values.
#[derive(Clone, Default)]
pub struct Extensions(Vec<Entry>);

#[derive(Clone)]
struct Entry {
    id: TypeId,
    name: &'static str,
    value: Arc<dyn Any + Send + Sync>,
}

impl Extensions {
    /// No values.
    pub const fn new() -> Extensions {
        Extensions(Vec::new())
    }

    /// Keeps a value, in place of the one of its type that was there.
    pub fn insert<T: Send + Sync + 'static>(&mut self, value: T) {
        let id = TypeId::of::<T>();
        let entry = Entry { id, name: type_name::<T>(), value: Arc::new(value) };
        match self.0.iter_mut().find(|known| known.id == id) {
            Some(known) => *known = entry,
            None => self.0.push(entry),
        }
    }

    /// The value of this type.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<&T> {
        let id = TypeId::of::<T>();
        self.0.iter().find(|entry| entry.id == id)?.value.downcast_ref()
    }

    /// Takes the value of this type out.
    pub fn remove<T: Send + Sync + 'static>(&mut self) -> Option<Arc<T>> {
        let id = TypeId::of::<T>();
        let at = self.0.iter().position(|entry| entry.id == id)?;
        self.0.swap_remove(at).value.downcast().ok()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes all and keeps the memory.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl fmt::Debug for Extensions {
    /// The types only: values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        for entry in &self.0 {
            list.entry(&format_args!("{}", entry.name));
        }
        list.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_of_each_type() {
        let mut all = Extensions::new();
        assert!(all.is_empty() && all.remove::<u8>().is_none());
        all.insert(1_u8);
        all.insert("text");
        all.insert(2_u8);
        let copy = all.clone();
        assert_eq!((all.get::<u8>(), all.get::<&str>()), (Some(&2), Some(&"text")));
        assert_eq!(all.get::<u16>(), None);
        assert_eq!(all.remove::<u8>().as_deref(), Some(&2));
        assert_eq!((all.get::<u8>(), copy.get::<u8>()), (None, Some(&2)));
        all.clear();
        assert!(all.is_empty() && !copy.is_empty());
    }

    #[test]
    fn values_are_not_shown() {
        struct Secret(#[expect(dead_code, reason = "only its type is looked at")] &'static str);
        let mut all = Extensions::new();
        all.insert(Secret("hunter2"));
        let shown = format!("{all:?}");
        assert!(shown.contains("Secret") && !shown.contains("hunter2"), "{shown}");
    }
}
