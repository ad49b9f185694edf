//! The ladders: for every command at least one, on which all that can be said against it stands.

pub struct Ladder {
    /// The command it is about.
    pub of: &'static str,
    /// Commands of a script, all of which are granted.
    pub setup: &'static str,
    /// What is told, and the commands of a script of which the last is told so; the others take
    /// away what was told before, and are granted.
    pub rungs: &'static [(&'static str, &'static str)],
}

pub const LADDERS: &[Ladder] = &[
    Ladder {
        of: "any request",
        setup: "resource tokens unit=token decimals=2 kind=budget id=used
            wait 61m",
        rungs: &[
            ("RequestIdReused", "resource vcpus unit=x decimals=1 kind=budget id=used"),
            // The next event forgets what lies before the window.
            (
                "RequestIdExpired",
                "scope later
                resource vcpus unit=x decimals=1 kind=budget id=used",
            ),
            ("Malformed", "resource vcpus unit=x decimals=1 kind=budget made=61s_ahead"),
            ("ResourceExists", "resource vcpus unit=x decimals=1 kind=budget"),
        ],
    },
    Ladder {
        of: "a request with bad input",
        setup: "scope acme id=used
            wait 61m",
        rungs: &[
            ("RequestIdReused", "quota acme memory_gb 0.0001 id=used"),
            (
                "RequestIdExpired",
                "scope later
                quota acme memory_gb 0.0001 id=used",
            ),
            ("Malformed", "quota acme memory_gb 0.0001"),
            ("granted", "quota acme memory_gb 0.001"),
        ],
    },
    Ladder {
        of: "CreateScope, the parent missing",
        setup: "scope acme schema=organization/team",
        rungs: &[
            ("UnknownScopes", "scope acme/ml/alice kind=galaxy"),
            (
                "SchemaConflict",
                "scope acme/ml
                scope acme/ml/alice kind=galaxy",
            ),
        ],
    },
    Ladder {
        of: "CreateScope, there already",
        setup: "scope acme schema=organization/team
            scope acme/ml",
        rungs: &[
            ("ScopeExists", "scope acme/ml kind=galaxy"),
            (
                "SchemaConflict",
                "delete_scope acme/ml
                scope acme/ml kind=galaxy",
            ),
            ("granted", "scope acme/ml"),
        ],
    },
    Ladder {
        of: "UpdateScope",
        setup: "scope acme kind=organization child_policy=unchecked
            scope acme/ml kind=team
            quota acme memory_gb 5
            quota acme/ml memory_gb 6",
        rungs: &[
            ("SchemaConflict", "update_scope acme schema=organization/user child_policy=each"),
            ("LimitConflict", "update_scope acme schema=organization/team child_policy=each"),
            (
                "granted",
                "quota acme/ml memory_gb 5
                update_scope acme schema=organization/team child_policy=each",
            ),
        ],
    },
    Ladder {
        of: "MoveScope",
        setup: "scope acme schema=organization/team/user/device
            scope acme/ml
            scope acme/ml/alice
            scope acme/web
            scope acme/web/bob
            scope acme/web/bob/alice
            quota acme memory_gb 20
            quota acme/ml/alice memory_gb 10
            quota acme/web memory_gb 5
            reserve acme/ml/alice@memory_gb=6
            quota acme/ml vcpus 5
            reserve acme/ml/alice@vcpus=1
            lock acme/web memory_gb reason=audit",
        rungs: &[
            ("UnknownScopes", "move_scope acme/ml/nobody acme/web/bob/alice"),
            ("UnknownQuotas", "move_scope acme/ml/alice acme/web/bob/alice"),
            (
                "ScopeExists",
                "quota acme vcpus 5
                move_scope acme/ml/alice acme/web/bob/alice",
            ),
            (
                "Locked",
                "delete_scope acme/web/bob/alice
                move_scope acme/ml/alice acme/web/bob/alice",
            ),
            (
                "SchemaConflict",
                "unlock acme/web memory_gb
                move_scope acme/ml/alice acme/web/bob/alice",
            ),
            ("LimitConflict", "move_scope acme/ml/alice acme/web/alice"),
            (
                "Denied",
                "quota acme/ml/alice memory_gb 5
                move_scope acme/ml/alice acme/web/alice",
            ),
            ("granted", "move_scope acme/ml/alice acme/web/alice force"),
        ],
    },
    Ladder {
        of: "DeleteScope",
        setup: "scope acme
            scope acme/ml
            scope acme/ml/alice
            scope acme/web
            quota acme memory_gb 20 allow_transfer=true
            quota acme/ml memory_gb 10
            quota acme/web memory_gb 10
            transfer memory_gb acme/ml acme/web 1 until_in=1h
            reserve acme/ml@memory_gb=1 named=hold",
        rungs: &[
            ("HasChildren", "delete_scope acme/ml"),
            (
                "InUse",
                "delete_scope acme/ml/alice
                delete_scope acme/ml",
            ),
            (
                "OnLoan",
                "release hold
                delete_scope acme/ml",
            ),
            (
                "granted",
                "wait 1h
                delete_scope acme/ml",
            ),
        ],
    },
    Ladder {
        of: "SetQuota, names",
        setup: "scope acme",
        rungs: &[
            ("Malformed", "quota nowhere memory_gb 1.0001"),
            ("UnknownScopes", "quota nowhere memory_gb 1"),
        ],
    },
    Ladder {
        of: "SetQuota, names unknown",
        setup: "scope acme",
        rungs: &[("UnknownScopes", "quota nowhere nothing 1"), ("UnknownResources", "quota acme nothing 1")],
    },
    Ladder {
        of: "SetQuota, limits",
        setup: "scope acme
            scope acme/ml
            quota acme memory_gb 10
            reserve acme/ml@memory_gb=10
            quota acme memory_gb 5",
        rungs: &[
            ("Malformed", "quota acme/ml memory_gb 9.0001 on_reduce=refuse if_version=7"),
            ("Malformed", "quota acme/ml memory_gb 9 soft=10 on_reduce=refuse if_version=7"),
            ("VersionMismatch", "quota acme/ml memory_gb 9 on_reduce=refuse if_version=7"),
            ("LimitConflict", "quota acme/ml memory_gb 9 on_reduce=refuse if_version=0"),
            (
                "BelowUse",
                "quota acme memory_gb 20
                quota acme/ml memory_gb 9 on_reduce=refuse if_version=0",
            ),
            ("granted", "quota acme/ml memory_gb 9 if_version=0"),
        ],
    },
    Ladder {
        of: "SetQuota, a patch",
        setup: "scope acme",
        rungs: &[
            ("Malformed", "patch acme memory_gb soft=1.0001 if_version=7"),
            ("UnknownQuotas", "patch acme memory_gb soft=1 if_version=7"),
            (
                "VersionMismatch",
                "quota acme memory_gb 10
                patch acme memory_gb soft=1 if_version=7",
            ),
            ("granted", "patch acme memory_gb soft=1 if_version=1"),
        ],
    },
    Ladder {
        of: "SetQuota, later",
        setup: "scope acme
            scope acme/ml
            quota acme memory_gb 5
            batch
            quota acme/ml memory_gb 1 effective_in=1h
            31 × quota acme/ml memory_gb 1 effective_in=2h
            end",
        rungs: &[
            ("Malformed", "quota acme/ml memory_gb 6.0001 effective_in=3h if_version=7"),
            ("VersionMismatch", "quota acme/ml memory_gb 6 effective_in=3h if_version=7"),
            ("ScheduleConflict", "quota acme/ml memory_gb 6 effective_in=3h"),
            (
                "LimitConflict",
                "wait 1h
                quota acme/ml memory_gb 6 effective_in=3h",
            ),
            ("granted", "quota acme/ml memory_gb 5 effective_in=3h"),
        ],
    },
    Ladder {
        of: "AdjustQuota",
        setup: "scope acme
            scope acme/ml",
        rungs: &[
            ("Malformed", "adjust nowhere memory_gb \"-5.0001\" if_version=7"),
            ("UnknownScopes", "adjust nowhere memory_gb \"-5\" if_version=7"),
            ("UnknownQuotas", "adjust acme memory_gb \"-5\" if_version=7"),
            (
                "VersionMismatch",
                "quota acme memory_gb 10 on_reduce=refuse
                quota acme/ml memory_gb 8
                reserve acme@memory_gb=7
                adjust acme memory_gb \"-5\" if_version=7",
            ),
            ("LimitConflict", "adjust acme memory_gb \"-5\""),
            (
                "BelowUse",
                "delete_quota acme/ml memory_gb
                adjust acme memory_gb \"-5\"",
            ),
            ("granted", "adjust acme memory_gb \"-3\""),
        ],
    },
    Ladder {
        of: "DeleteQuota",
        setup: "scope acme
            scope acme/ml
            scope acme/web
            quota acme memory_gb 20 allow_transfer=true
            quota acme/ml memory_gb 10
            quota acme/web memory_gb 10
            transfer memory_gb acme/ml acme/web 1 until_in=1h",
        rungs: &[
            ("UnknownQuotas", "delete_quota acme/ml vcpus if_version=7"),
            ("OnLoan", "delete_quota acme/ml memory_gb if_version=7"),
            (
                "VersionMismatch",
                "wait 1h
                delete_quota acme/ml memory_gb if_version=7",
            ),
            ("granted", "delete_quota acme/ml memory_gb if_version=3"),
        ],
    },
    Ladder {
        of: "LockQuota",
        setup: "scope acme",
        rungs: &[
            ("UnknownScopes", "lock nowhere nothing reason=audit if_version=7"),
            ("UnknownResources", "lock acme nothing reason=audit if_version=7"),
            ("UnknownQuotas", "lock acme memory_gb reason=audit if_version=7"),
            (
                "VersionMismatch",
                "quota acme memory_gb 1
                lock acme memory_gb reason=audit if_version=7",
            ),
        ],
    },
    Ladder {
        of: "OverrideQuota",
        setup: "scope acme
            scope acme/ml
            quota acme memory_gb 10
            reserve acme/ml@memory_gb=10
            quota acme memory_gb 5",
        rungs: &[
            ("Malformed", "override acme/ml memory_gb 9.0001 end_in=90m if_version=7"),
            ("Malformed", "override acme/ml memory_gb 9 end_in=0s if_version=7"),
            ("UnknownQuotas", "override acme/ml memory_gb 9 end_in=90m if_version=7"),
            (
                "VersionMismatch",
                "quota acme/ml memory_gb inherit on_reduce=refuse
                override acme/ml memory_gb 1 start_in=1h end_in=2h named=other
                override acme/ml memory_gb 9 end_in=90m if_version=7",
            ),
            ("ScheduleConflict", "override acme/ml memory_gb 9 end_in=90m"),
            (
                "LimitConflict",
                "cancel acme/ml memory_gb other
                override acme/ml memory_gb 9 end_in=90m",
            ),
            (
                "BelowUse",
                "quota acme memory_gb 10
                override acme/ml memory_gb 9 end_in=90m",
            ),
            ("granted", "override acme/ml memory_gb 10 end_in=90m"),
        ],
    },
    Ladder {
        of: "CancelSchedule",
        setup: "scope acme",
        rungs: &[
            ("UnknownQuotas", "cancel acme memory_gb 99 if_version=7"),
            (
                "UnknownSchedule",
                "quota acme memory_gb 5 on_reduce=refuse
                override acme memory_gb 10 end_in=1h named=more
                reserve acme@memory_gb=10
                cancel acme memory_gb 99 if_version=7",
            ),
            ("VersionMismatch", "cancel acme memory_gb more if_version=7"),
            ("BelowUse", "cancel acme memory_gb more"),
        ],
    },
    Ladder {
        of: "TransferQuota, names",
        setup: "scope acme",
        rungs: &[
            ("Malformed", "transfer memory_gb acme/ml acme/web 1.0001"),
            ("UnknownScopes", "transfer memory_gb acme/ml acme/web 1"),
            (
                "UnknownResources",
                "scope acme/ml
                scope acme/web
                transfer nothing acme/ml acme/web 1",
            ),
        ],
    },
    Ladder {
        of: "TransferQuota, limits",
        setup: "scope acme child_policy=sum
            scope acme/ml
            scope acme/web
            quota acme memory_gb 20
            quota acme/ml memory_gb 10
            reserve acme/ml@memory_gb=10",
        rungs: &[
            ("Malformed", "transfer memory_gb acme/ml acme/web 1 until_in=0s if_from_version=7"),
            ("UnknownQuotas", "transfer memory_gb acme/ml acme/web 1 if_from_version=7"),
            (
                "VersionMismatch",
                "quota acme/web memory_gb 5 overcommit=2
                transfer memory_gb acme/ml acme/web 1 if_from_version=7",
            ),
            ("VersionMismatch", "transfer memory_gb acme/ml acme/web 1 if_to_version=7"),
            (
                "ScheduleConflict",
                "patch acme memory_gb allow_transfer=true
                32 × transfer memory_gb acme/web acme/ml 0.001 until_in=9h
                patch acme memory_gb allow_transfer=false
                transfer memory_gb acme/ml acme/web 1 until_in=9h",
            ),
            ("TransferNotAllowed", "transfer memory_gb acme/ml acme/web 1"),
            (
                "LimitConflict",
                "patch acme memory_gb allow_transfer=true
                transfer memory_gb acme/ml acme/web 1",
            ),
            (
                "BelowUse",
                "patch acme/web memory_gb overcommit=none
                transfer memory_gb acme/ml acme/web 1",
            ),
        ],
    },
    Ladder {
        of: "PutTemplate",
        setup: "scope acme",
        rungs: &[
            ("Malformed", "template mine nothing=1 memory_gb=1.0001 if_version=7"),
            ("UnknownResources", "template mine nothing=1 memory_gb=1 if_version=7"),
            ("TemplateVersionMismatch", "template mine memory_gb=1 if_version=7"),
        ],
    },
    Ladder {
        of: "ApplyTemplate, place",
        setup: "scope acme
            quota acme memory_gb 5
            scope acme/ml
            template mine memory_gb=6",
        rungs: &[
            ("UnknownScopes", "apply_template nowhere nothing if_template_version=7"),
            ("UnknownTemplate", "apply_template acme/ml nothing if_template_version=7"),
            ("TemplateVersionMismatch", "apply_template acme/ml mine if_template_version=7"),
            ("LimitConflict", "apply_template acme/ml mine"),
        ],
    },
    Ladder {
        of: "ApplyTemplate, use",
        setup: "scope acme
            quota acme memory_gb 5
            reserve acme@memory_gb=5
            template mine memory_gb=\"4 on_reduce=refuse\"",
        rungs: &[
            ("UnknownTemplate", "apply_template acme nothing if_template_version=7"),
            ("TemplateVersionMismatch", "apply_template acme mine if_template_version=7"),
            ("BelowUse", "apply_template acme mine"),
        ],
    },
    Ladder {
        of: "ApplyPlan",
        setup: "scope acme kind=organization
            scope acme/ml kind=team
            quota acme memory_gb 5",
        rungs: &[
            (
                "ResourceExists",
                "plan
                resource vcpus unit=x decimals=1 kind=budget
                scope acme/ml kind=user
                quota acme/ml memory_gb 6
                end",
            ),
            (
                "SchemaConflict",
                "plan
                scope acme/ml kind=user
                quota acme/ml memory_gb 6
                end",
            ),
            (
                "LimitConflict",
                "plan
                scope acme/ml kind=team
                quota acme/ml memory_gb 6
                end",
            ),
        ],
    },
    Ladder {
        of: "Reserve",
        setup: "scope acme
            resource dust unit=grain decimals=18 kind=capacity
            quota acme dust unlimited
            reserve acme@dust=50000000000
            quota acme memory_gb 5 max_ttl=1h
            lock acme memory_gb reason=audit",
        rungs: &[
            (
                "Malformed",
                "reserve acme/x@memory_gb=1 acme@nothing=1 acme@instances=1 acme@memory_gb=6.0001 if_sequence=9 acme@dust=50000000000 ttl=2h",
            ),
            (
                "UnknownScopes",
                "reserve acme/x@memory_gb=1 acme@nothing=1 acme@instances=1 acme@memory_gb=6 if_sequence=9 acme@dust=50000000000 ttl=2h",
            ),
            (
                "UnknownResources",
                "reserve acme@nothing=1 acme@instances=1 acme@memory_gb=6 if_sequence=9 acme@dust=50000000000 ttl=2h",
            ),
            (
                "UnknownQuotas",
                "reserve acme@instances=1 acme@memory_gb=6 if_sequence=9 acme@dust=50000000000 ttl=2h",
            ),
            ("Locked", "reserve acme@memory_gb=6 if_sequence=9 acme@dust=50000000000 ttl=2h"),
            (
                "SequenceMismatch",
                "unlock acme memory_gb
                reserve acme@memory_gb=6 if_sequence=9 acme@dust=50000000000 ttl=2h",
            ),
            ("TtlTooLong", "reserve acme@memory_gb=6 acme@dust=50000000000 ttl=2h"),
            ("Uncountable", "reserve acme@memory_gb=6 acme@dust=50000000000 ttl=1h"),
            ("Denied", "reserve acme@memory_gb=6 ttl=1h"),
            ("granted", "reserve acme@memory_gb=5 ttl=1h"),
        ],
    },
    Ladder {
        of: "Commit, names",
        setup: "scope acme",
        rungs: &[
            ("Malformed", "commit 99 acme/x@memory_gb=1 acme@nothing=1 acme@memory_gb=1.0001"),
            ("UnknownScopes", "commit 99 acme/x@memory_gb=1 acme@nothing=1 acme@memory_gb=1"),
            ("UnknownResources", "commit 99 acme@nothing=1 acme@memory_gb=1"),
            ("UnknownHold", "commit 99 acme@memory_gb=1"),
        ],
    },
    Ladder {
        of: "Commit, beyond the hold",
        setup: "scope acme
            resource dust unit=grain decimals=18 kind=capacity
            quota acme dust unlimited
            quota acme memory_gb 5
            reserve acme@dust=50000000000
            reserve acme@memory_gb=1 acme@dust=1 named=closed commit
            reserve acme@memory_gb=1 acme@dust=1 named=hold
            lock acme memory_gb reason=audit",
        rungs: &[
            ("Malformed", "commit closed acme@vcpus=1.0001 acme@memory_gb=6 acme@dust=50000000000"),
            ("HoldClosed", "commit closed acme@vcpus=1 acme@memory_gb=6 acme@dust=50000000000"),
            ("HoldTooSmall", "commit hold acme@vcpus=1 acme@memory_gb=6 acme@dust=50000000000"),
            ("Locked", "commit hold acme@memory_gb=6 acme@dust=50000000000"),
            (
                "Uncountable",
                "unlock acme memory_gb
                commit hold acme@memory_gb=6 acme@dust=50000000000",
            ),
            ("Denied", "commit hold acme@memory_gb=6"),
            ("granted", "commit hold acme@memory_gb=1"),
        ],
    },
    Ladder {
        of: "Release",
        setup: "scope acme
            quota acme memory_gb 5
            reserve acme@memory_gb=1 named=closed
            release closed
            reserve acme@memory_gb=1 named=hold",
        rungs: &[
            ("Malformed", "release 99 acme/x@memory_gb=9.0001 acme@memory_gb=9.0001"),
            ("UnknownScopes", "release 99 acme/x@memory_gb=9"),
            ("UnknownHold", "release 99 acme@memory_gb=9"),
            ("HoldClosed", "release closed acme@memory_gb=9"),
            ("HoldTooSmall", "release hold acme@memory_gb=9"),
        ],
    },
    Ladder {
        of: "Renew",
        setup: "scope acme
            quota acme memory_gb 5 max_ttl=1h
            reserve acme@memory_gb=1 named=committed commit
            reserve acme@memory_gb=1 named=hold",
        rungs: &[
            ("UnknownHold", "renew 99 2h"),
            ("HoldClosed", "renew committed 2h"),
            ("TtlTooLong", "renew hold 2h"),
            ("granted", "renew hold 1h"),
        ],
    },
    Ladder {
        of: "Resize",
        setup: "scope acme
            resource dust unit=grain decimals=18 kind=capacity
            quota acme dust unlimited
            quota acme memory_gb 5
            reserve acme@dust=50000000000
            reserve acme@memory_gb=1 acme@dust=1 named=closed
            release closed
            reserve acme@memory_gb=1 acme@dust=1 named=hold
            lock acme memory_gb reason=audit",
        rungs: &[
            ("Malformed", "resize closed acme@vcpus=1.0001 acme@memory_gb=6 acme@dust=50000000000"),
            ("HoldClosed", "resize closed acme@vcpus=1 acme@memory_gb=6 acme@dust=50000000000"),
            ("HoldTooSmall", "resize hold acme@vcpus=1 acme@memory_gb=6 acme@dust=50000000000"),
            ("Locked", "resize hold acme@memory_gb=6 acme@dust=50000000000"),
            (
                "Uncountable",
                "unlock acme memory_gb
                resize hold acme@memory_gb=6 acme@dust=50000000000",
            ),
            ("Denied", "resize hold acme@memory_gb=6"),
            ("granted", "resize hold acme@memory_gb=5"),
        ],
    },
    Ladder {
        of: "Resize, nobody says what is allowed any more",
        setup: "scope acme
            quota acme memory_gb 5
            reserve acme@memory_gb=1 named=hold
            quota acme memory_gb inherit
            lock acme memory_gb reason=audit",
        rungs: &[
            ("UnknownQuotas", "resize hold acme@memory_gb=6"),
            (
                "Locked",
                "quota acme memory_gb 5
                resize hold acme@memory_gb=6",
            ),
            (
                "Denied",
                "unlock acme memory_gb
                resize hold acme@memory_gb=6",
            ),
        ],
    },
    Ladder {
        of: "Batch",
        setup: "scope acme id=used",
        rungs: &[
            (
                "RequestIdReused",
                "batch
                commit 99
                end id=used",
            ),
            (
                "PartFailed",
                "batch
                commit 99
                end",
            ),
        ],
    },
];

/// What depends on the state is looked at when that part of the state is known, whatever its rank.
pub const EXCEPTIONS: &[Ladder] = &[
    Ladder {
        of: "SetQuota, what a patch comes to",
        setup: "scope acme
            quota acme memory_gb 5",
        rungs: &[
            ("VersionMismatch", "patch acme memory_gb soft=6 if_version=7"),
            ("Malformed", "patch acme memory_gb soft=6 if_version=1"),
        ],
    },
    Ladder {
        of: "Resize, a line that the hold has not",
        setup: "scope acme
            quota acme memory_gb 5
            reserve acme@memory_gb=1 named=hold
            quota acme memory_gb inherit",
        rungs: &[
            ("HoldTooSmall", "resize hold acme@vcpus=1 acme@memory_gb=2"),
            ("UnknownQuotas", "resize hold acme@memory_gb=2"),
        ],
    },
    Ladder {
        of: "ApplyTemplate, use before limits",
        setup: "scope acme
            scope acme/ml
            quota acme memory_gb 10
            quota acme/ml memory_gb 5
            reserve acme@memory_gb=5 named=hold
            template mine memory_gb=\"4 on_reduce=refuse\"",
        rungs: &[
            ("BelowUse", "apply_template acme mine"),
            (
                "LimitConflict",
                "release hold
                apply_template acme mine",
            ),
        ],
    },
    Ladder {
        of: "ApplyPlan, part by part",
        setup: "scope acme
            scope acme/ml
            quota acme memory_gb 10",
        rungs: &[
            (
                "ResourceExists",
                "plan
                resource vcpus unit=x decimals=1 kind=budget
                quota acme/ml memory_gb 11 soft=12
                end",
            ),
            (
                "Malformed",
                "plan
                quota acme/ml memory_gb 11 soft=12
                end",
            ),
            (
                "LimitConflict",
                "plan
                quota acme/ml memory_gb 11
                end",
            ),
        ],
    },
];
