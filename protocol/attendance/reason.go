package attendance

// Reason is a code that says why a verdict is what it is. Codes are stored and
// sent to central as text; a code that exists is never renamed.
type Reason string

// The reasons, as FORMAT.md explains them. Those of one check stand together.
const (
	// Who sent it.
	ReasonMalformed    Reason = "malformed" // not in the design's list: the payload is no check-in
	ReasonUnknownPhone Reason = "unknown-phone"
	ReasonBadSignature Reason = "bad-signature"
	ReasonReplayed     Reason = "replayed"

	// Where it was.
	ReasonStaleFix       Reason = "stale-fix"
	ReasonNoFix          Reason = "no-fix"
	ReasonLowAccuracy    Reason = "low-accuracy"
	ReasonOutsideFence   Reason = "outside-fence"
	ReasonUncertainFence Reason = "uncertain-fence"
	ReasonWiFiMatch      Reason = "wifi-match"
	ReasonWiFiUnknown    Reason = "wifi-unknown"
	ReasonWiFiAbsent     Reason = "wifi-absent"

	// Whether it can be true.
	ReasonMockLocation     Reason = "mock-location"
	ReasonImpossibleTravel Reason = "impossible-travel"
	ReasonFrozen           Reason = "frozen-coordinates"
	ReasonNoGoZone         Reason = "no-go-zone"

	// Whether it may be.
	ReasonNotEmployed  Reason = "not-employed"
	ReasonUnknownBadge Reason = "unknown-badge" // not in the design's list: a terminal's PIN or card that is nobody's
	ReasonExcused      Reason = "excused"
	ReasonPhotoMissing Reason = "photo-missing"
	ReasonClockSkew    Reason = "clock-skew"
	ReasonLate         Reason = "late"
)
