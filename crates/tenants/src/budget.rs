//! What callers may still do: limits of the moment and budgets, reserved before a request and
//! settled after it, at all levels of the tree at once.
//!
//! A tenant and all that is below it share one short lock, so that a reservation at three levels is
//! one step: it happens at all of them or at none, and there is no order of locks to get wrong.
//!
//! Money is counted in whole billionths. Estimates and actual costs in another currency than a
//! budget's are converted by a fixed table and rounded up, each part by itself. So what is counted
//! may exceed the exact sum by less than a billionth for each part, and never falls below it.

mod account;
mod book;
mod counts;
mod refusal;
mod reservation;
pub mod share;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::{Mutex, RwLock};

pub use self::account::AccountId;
use self::book::Book;
pub use self::counts::{NodeUsage, PeriodUsage};
pub use self::refusal::{LimitKind, Refusal, Until};
pub use self::reservation::Reservation;
pub use self::share::{BudgetShare, LocalOnly, Standing};
use self::share::{Counted, HoldKey};
use crate::directory::{Caller, Directory, Node};
use crate::id::{NodeId, TenantId};
use crate::money::{Cost, Rates};
use crate::period::Now;
use crate::settings::Unit;

/// What a request costs, or may cost at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Money, in the currencies of the prices.
    pub cost: Cost,
    /// Tokens, prompt and answer together.
    pub tokens: u64,
}

/// What is to be reserved for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// The most that it may cost. A cost above it is counted in full when it is settled, and is then
    /// the only way to overspend.
    pub spent: Spent,
    /// How many requests it counts as, for requests per minute and at once. 1 for a request, 0 for
    /// more money and tokens for one that runs already.
    pub requests: u32,
}

impl Estimate {
    /// One request that costs so much at most.
    pub fn of_request(spent: Spent) -> Self {
        Self { spent, requests: 1 }
    }
}

/// An account whose use before the start of this process is to be looked up in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Due {
    /// The tenant that the account belongs to.
    pub tenant: TenantId,
    /// The account.
    pub account: AccountId,
    /// Since when use counts; `None` for ever.
    pub from: Option<Timestamp>,
    /// Before when use counts; `None` for ever.
    pub until: Option<Timestamp>,
}

/// The accounts of all tenants. Cheap to clone: clones are the same accounts.
#[derive(Clone)]
pub struct Budgets {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    rates: Rates,
    share: Box<dyn BudgetShare>,
    books: RwLock<HashMap<TenantId, Arc<Mutex<Book>>>>,
}

impl Budgets {
    /// Accounts in which nothing was used, for one replica alone.
    pub fn new(rates: Rates) -> Self {
        Self::with_share(rates, LocalOnly)
    }

    /// Accounts whose limits are divided between replicas.
    pub fn with_share(rates: Rates, share: impl BudgetShare) -> Self {
        Self {
            shared: Arc::new(Shared {
                rates,
                share: Box::new(share),
                books: RwLock::default(),
            }),
        }
    }

    /// Reserves what a request may cost in all limits and budgets of its key, project and tenant,
    /// or nothing at all.
    ///
    /// # Errors
    /// [`Refusal`] names the limit that stands in the way for longest.
    pub fn reserve(
        &self,
        caller: &Caller,
        estimate: &Estimate,
        now: Now,
    ) -> Result<Reservation, Refusal> {
        let book = self.book(caller.tenant_id(), now);
        let taken = {
            let mut open = book.lock();
            open.reserve(caller, estimate, now, &self.shared)?
        };
        Ok(Reservation::new(Arc::clone(&self.shared), book, taken))
    }

    /// Counts what the ledger says was used before this process started. To be called before the
    /// first request, so that a restart forgets nothing; doing it twice counts nothing twice, since
    /// an account keeps the greater of what it has and what it is told.
    ///
    /// `spent` is what all requests of the account's node cost between [`Due::from`] and
    /// [`Due::until`]; the account takes the unit that it counts.
    pub fn restore(&self, due: &Due, spent: &Spent, now: Now) {
        let used = match due.account.unit {
            Unit::Tokens => spent.tokens,
            Unit::Money(currency) => self.shared.rates.in_currency_up(&spent.cost, currency),
        };
        let at = due.from.unwrap_or(now.wall);
        self.book(due.tenant, now)
            .lock()
            .restore(due.account, at, used);
    }

    /// The accounts that were not restored yet: all of them at the start, later those of budgets
    /// that are new.
    pub fn due(&self, directory: &Directory, now: Now) -> Vec<Due> {
        let mut all = Vec::new();
        for (tenant, node) in directory.nodes() {
            if node.settings().budgets.is_empty() {
                continue;
            }
            let book = self.book(tenant, now);
            let mut book = book.lock();
            for account in AccountId::all_of(node) {
                if let Some(index) = book.unrestored(account, now.wall) {
                    all.push(Due {
                        tenant,
                        account,
                        from: account.period.start(index, account.offset),
                        until: account.period.end(index, account.offset),
                    });
                }
            }
        }
        all
    }

    /// How the limits and budgets of a caller's key, project and tenant stand.
    pub fn usage(&self, caller: &Caller, now: Now) -> Vec<NodeUsage> {
        let book = self.book(caller.tenant_id(), now);
        let mut book = book.lock();
        let chain = caller.chain().iter();
        chain.map(|node| book.usage(node, now)).collect()
    }

    /// How the limits and budgets of one place in the tree stand.
    pub fn usage_of(&self, tenant: TenantId, node: &Node, now: Now) -> NodeUsage {
        self.book(tenant, now).lock().usage(node, now)
    }

    /// Forgets accounts of what is no longer in the directory and has nothing running.
    pub fn retain(&self, directory: &Directory) {
        let mut kept: HashMap<TenantId, HashSet<NodeId>> = HashMap::new();
        for (tenant, node) in directory.nodes() {
            kept.entry(tenant).or_default().insert(node.id());
        }
        let none = HashSet::new();
        let mut books = self.shared.books.write();
        books.retain(|tenant, book| {
            let mut open = book.lock();
            open.retain(kept.get(tenant).unwrap_or(&none));
            // A request may have found the book and not yet locked it.
            !open.is_empty() || Arc::strong_count(book) > 1
        });
    }

    /// Reads how a limit stands, in a moment in which nobody reserves. `None` when it is not counted
    /// any more: the period is over, or the node or its budget is gone.
    pub(crate) fn counted<T>(
        &self,
        tenant: TenantId,
        key: &HoldKey,
        now: Now,
        read: impl FnOnce(Option<Counted>) -> T,
    ) -> T {
        let book = self.book(tenant, now);
        let mut book = book.lock();
        let counted = book.counted(key, now);
        read(counted)
    }

    /// Takes what the other replicas have used of a budget, in which period, and whether that is all
    /// that they have.
    pub(crate) fn told(
        &self,
        tenant: TenantId,
        account: AccountId,
        told: (i64, u64, bool),
        now: Now,
    ) {
        self.book(tenant, now).lock().told(account, told);
    }

    /// Makes all accounts [due](Self::due) again.
    pub(crate) fn expect_ledger(&self) {
        for book in self.shared.books.read().values() {
            book.lock().expect_ledger();
        }
    }

    fn book(&self, tenant: TenantId, now: Now) -> Arc<Mutex<Book>> {
        if let Some(book) = self.shared.books.read().get(&tenant) {
            return Arc::clone(book);
        }
        let mut books = self.shared.books.write();
        let book = books
            .entry(tenant)
            .or_insert_with(|| Arc::new(Mutex::new(Book::new(now.monotonic))));
        Arc::clone(book)
    }
}

impl fmt::Debug for Budgets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budgets")
            .field("tenants", &self.shared.books.read().len())
            .finish_non_exhaustive()
    }
}
