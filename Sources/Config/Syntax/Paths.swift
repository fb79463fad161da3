package enum Paths {
    /// `path` itself when it is absolute, else `path` under `directory`.
    package static func path(_ path: String, under directory: String) -> String {
        guard !path.hasPrefix("/"), !directory.isEmpty else { return path }
        return directory.hasSuffix("/") ? directory + path : directory + "/" + path
    }

    /// What comes before the last `/`; `.` for a bare file name.
    package static func directory(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}
