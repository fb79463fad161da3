// swift-tools-version: 6.2
import PackageDescription

/// Set by `scripts/fuzz`: the package is what the fuzz targets need then, and nothing else, with the address sanitizer
/// and what guides libFuzzer. (SwiftPM's own `--sanitize`, given twice, leaves that out.)
let isForFuzzing = Context.environment["SWITCHYARD_FUZZ_TARGETS"] != nil

/// Every Swift target is held to the same rules: Swift 6 mode, warnings are errors, and each unsafe
/// expression is marked. `scripts/check-layers` reads the dependencies below from the sources themselves.
let strict: [SwiftSetting] =
    [
        .swiftLanguageMode(.v6),
        .strictMemorySafety(),
        .treatAllWarnings(as: .error),
        .enableUpcomingFeature("MemberImportVisibility"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableExperimentalFeature("Lifetimes"),
    ]
    + (isForFuzzing
        ? [.unsafeFlags(["-sanitize=fuzzer,address"])]
        // Targets are cut by responsibility, which the optimiser is not to notice: it may inline across them.
        : [
            .unsafeFlags(
                ["-cross-module-optimization", "-Xfrontend", "-function-sections"],
                .when(configuration: .release))
        ])

/// Dynamic exclusivity checks cost a fifth of the proxy's own time for a request (docs/design.md). The tests, in
/// debug builds, run with them. With them, optimised and with the sanitizer, Swift 6.3.1 makes a WebSocketPlane that takes
/// payloads for headers: fuzzing found out.
let hot = strict + [.unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release))]

/// Functions that serve requests stand side by side in the program (docs/design.md). The list is made by
/// `scripts/order-functions`; names in it that are not there any more are passed over.
let ordered: [LinkerSetting] = [
    .unsafeFlags(
        [
            "-Xlinker", "--no-warn-symbol-ordering", "-Xlinker",
            "--symbol-ordering-file=\(Context.packageDirectory)/scripts/hot-functions.txt",
        ], .when(configuration: .release))
]

/// What `scripts/build-lua` makes.
let lua = "\(Context.packageDirectory)/.build-lua"

/// For libraries in C that scripts load with the sandbox off.
let exported: [LinkerSetting] = [
    .unsafeFlags([
        "-use-ld=lld", "-Xlinker", "--export-dynamic-symbol=lua_*", "-Xlinker",
        "--export-dynamic-symbol=luaL_*",
    ])
]

func library(_ name: String, _ dependencies: [Target.Dependency], _ settings: [SwiftSetting] = strict)
    -> Target
{
    .target(name: name, dependencies: dependencies, swiftSettings: settings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], resources: [Resource] = []) -> Target {
    .testTarget(name: name, dependencies: dependencies, resources: resources, swiftSettings: strict)
}

func system(_ name: String, _ pkgConfig: String?, apt packages: String...) -> Target {
    .systemLibrary(
        name: name, path: "Sources/System/\(name)", pkgConfig: pkgConfig, providers: [.apt(packages)])
}

let package = Package(
    name: "switchyard",
    products: [
        .executable(name: "switchyard", targets: ["switchyard"]),
        .executable(name: "switchyard-bench", targets: ["switchyard-bench"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
    ],
    targets: [
        system("COpenSSL", "openssl", apt: "libssl-dev"),
        system("CPCRE2", "libpcre2-8", apt: "libpcre2-dev"),
        system("CAres", "libcares", apt: "libc-ares-dev"),
        system("CZlib", "zlib", apt: "zlib1g-dev"),
        system("CNGHTTP2", "libnghttp2", apt: "libnghttp2-dev"),
        // Without pkg-config, which would say a flag that the package manager complains of.
        system("CHiredis", nil, apt: "libhiredis-dev"),
        system("CCrypt", "libcrypt", apt: "libcrypt-dev"),
        .target(
            name: "CSwitchyard", dependencies: ["CPCRE2"],
            cSettings: [
                .unsafeFlags(["-I\(lua)/include"]), .unsafeFlags(["-O2"], .when(configuration: .release)),
            ]
                + (isForFuzzing ? [.unsafeFlags(["-fsanitize=fuzzer-no-link,address"])] : []),
            linkerSettings: [.unsafeFlags(["\(lua)/\(isForFuzzing ? "lua-sanitized" : "lua").o"])]),

        library("Patterns", ["CPCRE2"]),
        library("Digest", ["COpenSSL", "CCrypt"]),
        library("TLS", ["COpenSSL"], hot),
        library("Redis", ["CHiredis"]),
        library("Config", ["Patterns"]),
        library("Bytes", []),
        library("Wire", ["Bytes", "CZlib"]),
        library("HTTP2", ["Bytes", "Wire", "CNGHTTP2"], hot),
        library("ProxyCore", ["Config", "Wire", "Patterns", "Digest"], hot),
        library(
            "LuaHooks",
            ["CSwitchyard", "Config", "Wire", "ProxyCore", "Patterns", "Digest", "Redis"], hot),
        library(
            "EventLoop",
            [
                "Bytes", "CSwitchyard", "CAres", "TLS",
                .product(name: "HeapModule", package: "swift-collections"),
            ],
            hot),
        library(
            "ProxyServer",
            [
                "Bytes", "CSwitchyard", "Config", "Wire", "HTTP2", "ProxyCore", "EventLoop", "Digest",
                "LuaHooks", "TLS", "Redis",
            ], hot),
        library(
            "ScriptTesting",
            ["Config", "Wire", "Digest", "ProxyCore", "LuaHooks", "EventLoop", "ProxyServer"]),
        library("DemoBackend", ["Wire", "EventLoop", "Digest"]),
        .executableTarget(
            name: "switchyard",
            dependencies: [
                "ProxyServer", "ScriptTesting", "LuaHooks", "DemoBackend", "Config", "ProxyCore",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict, linkerSettings: ordered + exported),
        .executableTarget(
            name: "switchyard-bench",
            dependencies: [
                "EventLoop", "Wire", "HTTP2", "DemoBackend", "TLS",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict),

        .target(name: "CAllocations", path: "Tests/CAllocations"),
        tests("PatternsTests", ["Patterns"]),
        tests("DigestTests", ["Digest"]),
        tests("RedisTests", ["Redis"]),
        tests("TLSTests", ["TLS", "COpenSSL"]),
        tests("ConfigTests", ["Config", "Patterns"], resources: [.copy("Fixtures")]),
        tests("WireTests", ["Wire"]),
        tests("HTTP2Tests", ["HTTP2", "Wire"]),
        tests("ProxyCoreTests", ["ProxyCore", "Config", "Wire", "Patterns", "Digest"]),
        tests(
            "LuaHooksTests",
            ["LuaHooks", "Digest", "ProxyCore", "Config", "Wire", "Patterns", "CAllocations"],
            resources: [.copy("Fixtures")]),
        tests("EventLoopTests", ["EventLoop"]),
        tests("DemoBackendTests", ["DemoBackend", "EventLoop", "Wire"]),
        tests("BenchTests", ["switchyard-bench", "EventLoop"]),
        tests("ScriptTestingTests", ["ScriptTesting", "LuaHooks", "ProxyServer", "EventLoop"]),
        tests("ProxyServerTests", ["ProxyServer", "ProxyCore", "Config", "Wire", "EventLoop", "TLS"]),
    ]
)

/// `scripts/test sanitize` builds the tests of one target, with what they need and nothing else.
if let only = Context.environment["SWITCHYARD_TEST_TARGET"] {
    package.targets.removeAll { $0.type == .test && $0.name != only }
}

/// libFuzzer brings the program's main function.
if isForFuzzing {
    package.targets.removeAll { $0.type == .test || $0.name.hasPrefix("switchyard") }
    package.products = [.executable(name: "switchyard-fuzz", targets: ["switchyard-fuzz"])]
    package.targets.append(
        .executableTarget(
            name: "switchyard-fuzz",
            dependencies: [
                "Bytes", "Wire", "HTTP2", "Config", "ProxyCore", "Patterns", "Digest", "LuaHooks",
                "EventLoop",
                "ProxyServer", "ScriptTesting",
            ],
            path: "Tests/Fuzz/Targets", swiftSettings: strict + [.unsafeFlags(["-parse-as-library"])],
            linkerSettings: [.unsafeFlags(["-sanitize=fuzzer,address", "-use-ld=lld"])]))
}
