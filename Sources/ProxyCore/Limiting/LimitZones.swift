package import Config
internal import Synchronization

/// The zones of the process, which reloads keep where their names, sizes and keys stay the same.
package final class LimitZones: Sendable {
    private struct Entry {
        var settings: LimitZoneSettings
        var zone: LimitZone

        /// Whether the zone can be gone on with under other settings. A rate may change.
        func serves(_ other: LimitZoneSettings) -> Bool {
            settings.name == other.name && settings.size == other.size && settings.keyText == other.keyText
                && settings.kind.directive == other.kind.directive
        }
    }

    private let current = Mutex<[Entry]>([])

    package init() {}

    /// The zones that a configuration is to have, in its order: those in use, and new ones for the others. Nothing changes
    /// for anybody else until `adopt`, so that a configuration that fails leaves no trace.
    package func prepare(_ settings: [LimitZoneSettings]) -> [LimitZone] {
        current.withLock { current in
            settings.map { row in current.first { $0.serves(row) }?.zone ?? LimitZone(row) }
        }
    }

    /// The zones that were prepared for these settings are those in use from now on. Others live on with the requests that
    /// they still count.
    ///
    /// - Returns: what to say of those that took the place of another of the same name: they began empty.
    package func adopt(_ zones: [LimitZone], _ settings: [LimitZoneSettings]) -> [String] {
        current.withLock { current in
            let former = current
            current = zip(settings, zones).map { Entry(settings: $0, zone: $1) }
            return settings.compactMap { row in
                guard let before = former.first(where: { $0.settings.name == row.name }),
                    !before.serves(row)
                else { return nil }
                return Self.notice(row, before: before.settings)
            }
        }
    }

    private static func notice(_ settings: LimitZoneSettings, before: LimitZoneSettings) -> String {
        let directive = settings.kind.directive
        let change =
            if settings.kind.directive != before.kind.directive {
                "it was of \(before.kind.directive)"
            } else if settings.keyText != before.keyText {
                "its key was \"\(before.keyText)\" and is \"\(settings.keyText)\""
            } else {
                "its size was \(before.size) and is \(settings.size) bytes"
            }
        return "\(directive) \"\(settings.name)\" begins empty: \(change)"
    }
}
