//! From typed words to the request of a run.

use super::args::{Common, MayDiffer, MetadataKind, RunArgs};
use super::failure::Failure;
use super::{only, places};
use crate::execute::Leases;
use crate::plan::metadata::IgnoreMetadata;
use crate::run::request::{
    Execution, HashCache, ListRequest, Request, SHADOW_AGE, ScanRequest, Source, Wishes,
};
use crate::run::{Hooks, Snapraid};

/// Returns the run that `common` and `args` ask for.
pub(super) fn request(common: &Common, args: &RunArgs) -> Result<Request, Failure> {
    Ok(Request {
        source: source(args)?,
        branches: args.branches.clone(),
        pool_root: args.pool_root.clone(),
        wishes: Wishes {
            include: args.include.clone(),
            exclude: args.exclude.clone(),
            min_size: args.min_size,
            max_size: args.max_size,
            primaries: args.primary.clone(),
            any_master: args.any_master,
            policy: args.dedup,
            ignore: may_differ(&args.ignore_metadata),
            link: args.link,
            shadows: args.shadows,
            shadow_age: args.shadow_age.unwrap_or(SHADOW_AGE),
            max_ops: args.max_ops,
            max_bytes: args.max_bytes,
        },
        execute: args.execute,
        execution: Execution {
            journal: common.journal.clone().or_else(places::usual_journal_dir),
            csv: args.log_file.clone(),
            accept_branches: args.accept_branches,
            leases: leases(args.no_lease),
            options: common.words.clone(),
            hooks: Hooks {
                before: args.pre.clone(),
                after: args.post.clone(),
                snapraid: args.snapraid_guard.clone().map(|config| Snapraid { config }),
            },
        },
    })
}

fn source(args: &RunArgs) -> Result<Source, Failure> {
    Ok(match &args.manifest {
        Some(list) => Source::List(ListRequest {
            path: list.clone(),
            format: args.manifest_format.clone(),
            base: args.base.clone(),
            map: args.map.clone(),
            pools: args.dirs.clone(),
        }),
        None => Source::Scan(ScanRequest {
            dirs: args.dirs.clone(),
            only: only::named(args)?,
            cache: cache(args),
        }),
    })
}

fn cache(args: &RunArgs) -> HashCache {
    if args.no_cache {
        return HashCache::Off;
    }
    let usual = || places::own_dir("/var/cache", "XDG_CACHE_HOME", ".cache");
    let dir = args.cache.clone().or_else(usual);
    dir.map_or(HashCache::NoPlace, HashCache::At)
}

/// Returns which metadata `listed` lets differ.
pub(super) fn may_differ(listed: &[MayDiffer]) -> IgnoreMetadata {
    let may_differ = |kind| listed.contains(&MayDiffer::Kind(kind));
    let xattrs = listed.iter().filter_map(|item| match item {
        MayDiffer::Xattrs(glob) => Some(glob.clone()),
        MayDiffer::Kind(_) => None,
    });
    IgnoreMetadata {
        owner: may_differ(MetadataKind::Owner),
        mode: may_differ(MetadataKind::Mode),
        acl: may_differ(MetadataKind::Acl),
        xattr: may_differ(MetadataKind::Xattr),
        xattrs: xattrs.collect(),
    }
}

/// Returns what `--no-lease` asks for.
pub(super) fn leases(no_lease: bool) -> Leases {
    if no_lease { Leases::Off } else { Leases::Required }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::args::Cli;
    use super::*;
    use crate::plan::metadata::XattrGlob;

    #[test]
    fn kinds_of_metadata_and_names_of_attributes_may_differ() {
        let parsed = |list: &str| Cli::try_parse_from(["x", "--ignore-metadata", list, "/pool"]);
        let ignored = |list| may_differ(&parsed(list).unwrap().run.ignore_metadata);
        let glob = |glob| XattrGlob::new(glob).unwrap();
        let both = ignored("mode,xattr=user.tag.*");
        assert_eq!((both.mode, both.xattr, both.xattrs), (true, false, vec![glob("user.tag.*")]));
        let two = ignored("xattr=user.a,xattr=user.b");
        assert_eq!(two.xattrs, ["user.a", "user.b"].map(glob));
        assert!(ignored("xattr").xattr && ignored("xattr").xattrs.is_empty());
        for wrong in ["xattr=", "xattr=user.[", "user.tag", "flags"] {
            let told = parsed(wrong).unwrap_err().to_string();
            assert!(told.contains("--ignore-metadata"), "{wrong}: {told}");
        }
        assert!(parsed("flags").unwrap_err().to_string().contains("owner, mode, acl, xattr"));
    }
}
