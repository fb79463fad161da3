import Glibc

/// What is fuzzed, by the name in `SWITCHYARD_FUZZ_TARGET`.
private let target: FuzzTarget = {
    let name = unsafe getenv("SWITCHYARD_FUZZ_TARGET").map { unsafe String(cString: $0) } ?? ""
    guard let target = FuzzTarget.all.first(where: { $0.name == name }) else {
        if name != "list" { print("SWITCHYARD_FUZZ_TARGET is to be one of:") }
        for target in FuzzTarget.all { print("\(target.name)\t\(target.title)") }
        exit(name == "list" ? 0 : 2)
    }
    return target
}()

/// libFuzzer calls it before all else: a name that is none, or `list`, ends the process here.
@_cdecl("LLVMFuzzerInitialize")
public func fuzzInitialize(
    _ count: UnsafeMutablePointer<CInt>?,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?>?
) -> CInt {
    _ = target
    return 0
}

/// libFuzzer calls it with each input.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    // Holds because: the input is as long as said for the time of the call, and is copied.
    let input = unsafe Array(UnsafeBufferPointer(start: bytes, count: count))
    target.run(input)
    return 0
}

/// libFuzzer's own loop, with its options among the arguments.
@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
    _ count: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?>,
    _ body: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

/// What the package manager has a release build begin with, in place of libFuzzer's main function.
@_cdecl("switchyard_fuzz_main")
public func fuzzMain(
    _ count: CInt, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
) -> CInt {
    var count = count
    var arguments = unsafe arguments
    // Holds because: they are what the program was started with, and live as long as it does.
    return unsafe runDriver(&count, &arguments) { unsafe fuzzOneInput($0, $1) }
}
