/* Products and quotients of complex numbers: ISO C23, annex G.5.1. Included once a type, with these defined:
 *     T                    the type of the parts
 *     PRODUCT, QUOTIENT    the functions' names
 *     X(name)              the name of a function of this type
 *     POWER(n)             2^n, for n within the exponents of normal values
 *     EXPONENT_OF(x)       the exponent field of a value; BIAS and LOWEST (the least exponent of a normal value) */

typedef union { T parts[2]; T _Complex whole; } X(complex);

INTERNAL int X(is_infinite)(T x) { return x - x != 0 && x == x; } /* x - x is a NaN: unequal to anything */
INTERNAL int X(is_nan)(T x) { return x != x; }
INTERNAL int X(is_finite)(T x) { return x - x == 0; }
INTERNAL T X(magnitude)(T x) { return x < 0 ? -x : x; }

/* Infinities become 1 and the rest 0, with their signs. */
INTERNAL T X(boxed)(T x) { return X(with_sign)(X(is_infinite)(x) ? (T)1 : (T)0, x); }
INTERNAL T X(zero_for_nan)(T x) { return X(is_nan)(x) ? X(with_sign)((T)0, x) : x; }

T _Complex PRODUCT(T a, T b, T c, T d) {
    T ac = a * c, bd = b * d, ad = a * d, bc = b * c;
    X(complex) result = {{ac - bd, ad + bc}};
    if (X(is_nan)(result.parts[0]) && X(is_nan)(result.parts[1])) {
        int again = 0;
        if (X(is_infinite)(a) || X(is_infinite)(b)) {
            a = X(boxed)(a), b = X(boxed)(b), c = X(zero_for_nan)(c), d = X(zero_for_nan)(d);
            again = 1;
        }
        if (X(is_infinite)(c) || X(is_infinite)(d)) {
            c = X(boxed)(c), d = X(boxed)(d), a = X(zero_for_nan)(a), b = X(zero_for_nan)(b);
            again = 1;
        }
        if (!again && (X(is_infinite)(ac) || X(is_infinite)(bd) || X(is_infinite)(ad) || X(is_infinite)(bc))) {
            a = X(zero_for_nan)(a), b = X(zero_for_nan)(b), c = X(zero_for_nan)(c), d = X(zero_for_nan)(d);
            again = 1;
        }
        if (again) {
            result.parts[0] = (T)__builtin_inf() * (a * c - b * d);
            result.parts[1] = (T)__builtin_inf() * (a * d + b * c);
        }
    }
    return result.whole;
}

INTERNAL T X(scaled)(T x, int n) { /* in two steps, since 2^n may itself be out of range */
    return x * POWER(n / 2) * POWER(n - n / 2);
}

INTERNAL int X(exponent)(T x) { /* of a finite value that is not 0 */
    int field = EXPONENT_OF(x);
    return field ? field - BIAS : EXPONENT_OF(x * POWER(-LOWEST)) - BIAS + LOWEST;
}

T _Complex QUOTIENT(T a, T b, T c, T d) {
    T p = X(magnitude)(c), q = X(magnitude)(d);
    T largest = p > q || X(is_nan)(q) ? p : q;
    int power = 0;
    if (largest > 0 && X(is_finite)(largest)) {
        power = X(exponent)(largest);
        c = X(scaled)(c, -power), d = X(scaled)(d, -power);
    }
    T norm = c * c + d * d;
    X(complex) result = {{X(scaled)((a * c + b * d) / norm, -power), X(scaled)((b * c - a * d) / norm, -power)}};
    if (X(is_nan)(result.parts[0]) && X(is_nan)(result.parts[1])) {
        T factor = (T)__builtin_inf();
        if (norm == 0 && (!X(is_nan)(a) || !X(is_nan)(b))) {
            factor = X(with_sign)(factor, c);
            result.parts[0] = factor * a, result.parts[1] = factor * b;
            return result.whole;
        }
        if ((X(is_infinite)(a) || X(is_infinite)(b)) && X(is_finite)(c) && X(is_finite)(d))
            a = X(boxed)(a), b = X(boxed)(b);
        else if ((X(is_infinite)(p) || X(is_infinite)(q)) && X(is_finite)(a) && X(is_finite)(b)) {
            c = X(boxed)(c), d = X(boxed)(d);
            factor = (T)0;
        } else
            return result.whole;
        result.parts[0] = factor * (a * c + b * d);
        result.parts[1] = factor * (b * c - a * d);
    }
    return result.whole;
}
#undef T
#undef PRODUCT
#undef QUOTIENT
#undef X
#undef POWER
#undef EXPONENT_OF
#undef BIAS
#undef LOWEST
