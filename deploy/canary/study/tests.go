package study

import (
	"math"
	"math/rand/v2"
)

// logFactorials go beyond what a run can ask for: two slots' requests and the priors.
var logFactorials = func() []float64 {
	table := make([]float64, 12000)
	for n := 1; n < len(table); n++ {
		table[n] = table[n-1] + math.Log(float64(n))
	}
	return table
}()

func logChoose(n, k int) float64 { return logFactorials[n] - logFactorials[k] - logFactorials[n-k] }

// fisher is the one-sided p-value of a out of n against b out of m: the hypergeometric tail.
func fisher(a, n, b, m int) float64 {
	total := logChoose(n+m, a+b)
	p := 0.0
	for x := a; x <= min(a+b, n); x++ {
		if a+b-x > m {
			continue
		}
		term := math.Exp(logChoose(n, x) + logChoose(m, a+b-x) - total)
		if p += term; term < p*1e-9 {
			break
		}
	}
	return p
}

// logBeta is of whole numbers of 1 and more.
func logBeta(x, y int) float64 { return logFactorials[x-1] + logFactorials[y-1] - logFactorials[x+y-1] }

// betaGreater is the posterior probability, with uniform priors, that the share of which a out of n were seen is greater than
// that of b out of m (Miller, "Formulas for Bayesian A/B testing", 2015).
func betaGreater(a, n, b, m int) float64 {
	alphaA, betaA, alphaB, betaB := a+1, n-a+1, b+1, m-b+1
	p := 0.0
	for i := range alphaA {
		p += math.Exp(logBeta(alphaB+i, betaA+betaB) - math.Log(float64(betaA+i)) - logBeta(1+i, betaA) - logBeta(alphaB, betaB))
	}
	return p
}

// kayentaHigh is the classification "High" by NetflixACAJudge (kayenta, MannWhitneyClassifier.scala): the lower end of the
// 98 % confidence interval of the Hodges-Lehmann shift, by its normal approximation, is above a quarter of the shift, and
// the canary's mean is not below the baseline's.
func kayentaHigh(canary, stable []float64, random *rand.Rand) bool {
	if len(canary) == 0 || len(stable) == 0 || mean(canary) < mean(stable) {
		return false
	}
	if constant(canary) && constant(stable) { // as Kayenta does, so that the test has something to rank
		canary, stable = noisy(canary, random), noisy(stable, random)
	}
	differences := make([]float64, 0, len(canary)*len(stable))
	for _, x := range canary {
		for _, y := range stable {
			differences = append(differences, x-y)
		}
	}
	const z98 = 2.3263478740408408
	n, m := float64(len(canary)), float64(len(stable))
	low := int(math.Floor(n*m/2 - z98*math.Sqrt(n*m*(n+m+1)/12)))
	if low < 0 {
		return false
	}
	shift := nth(differences, len(differences)/2)
	return nth(differences, low) > math.Abs(shift)/4
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

func constant(values []float64) bool {
	for _, v := range values {
		if v != values[0] {
			return false
		}
	}
	return true
}

func noisy(values []float64, random *rand.Rand) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = v + 1e-5*random.NormFloat64()
	}
	return out
}

// nth is the k-th smallest value, from 0; it reorders values (Hoare 1961).
func nth(values []float64, k int) float64 {
	low, high := 0, len(values)-1
	for low < high {
		pivot := values[(low+high)/2]
		i, j := low, high
		for i <= j {
			for values[i] < pivot {
				i++
			}
			for values[j] > pivot {
				j--
			}
			if i <= j {
				values[i], values[j] = values[j], values[i]
				i, j = i+1, j-1
			}
		}
		switch {
		case k <= j:
			high = j
		case k >= i:
			low = i
		default:
			return values[k]
		}
	}
	return values[k]
}
